import * as z from 'zod'

/**
 * A machine's name, under which its LAN and /etc/hosts list the machine. The name must be a host name (RFC 1123, and
 * `_` as in NixOps).
 */
export const MachineName = z
  .string()
  .regex(
    /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/,
    'a machine name is a host name: letters, digits, "-", "_" and ".", at most 63 characters',
  )
  .brand<'MachineName'>()
export type MachineName = z.infer<typeof MachineName>

export const DeploymentUuid = z.uuid().brand<'DeploymentUuid'>()
export type DeploymentUuid = z.infer<typeof DeploymentUuid>

/** NixOps' rule for deployment names. */
export const DeploymentName = z
  .string()
  .regex(
    /^[a-zA-Z_-][a-zA-Z0-9_.-]*$/,
    'a deployment name begins with a letter, "_" or "-" and continues with letters, digits, "_", "-", "."',
  )
  .brand<'DeploymentName'>()
export type DeploymentName = z.infer<typeof DeploymentName>

/**
 * The name of a new snapshot. A hypervisor uses the name for files, and could mistake a name of digits for one of
 * its own numbers.
 */
export const SnapshotName = z
  .string()
  .regex(
    /^(?!\d+$)[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    'a snapshot name has letters, digits, "-", "_" and ".", at most 63 characters, and not only digits',
  )
  .brand<'SnapshotName'>()
export type SnapshotName = z.infer<typeof SnapshotName>

/** A path in the Nix store: `/nix/store/<32 characters>-<name>`. */
export const StorePath = z
  .string()
  .regex(/^\/nix\/store\/[0-9a-z]{32}-[0-9a-zA-Z+\-._?=]+$/, 'not a Nix store path')
  .brand<'StorePath'>()
export type StorePath = z.infer<typeof StorePath>

export type TaskId = string

/**
 * Returns the provider's name for a resource. The name is known before the resource exists, so that the
 * resource can be found after a crash.
 */
export function resourceName(uuid: DeploymentUuid, machine: MachineName): string {
  return `hydra-ops-${uuid}-${machine}`
}
