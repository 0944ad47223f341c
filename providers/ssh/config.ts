import * as z from 'zod'

/**
 * Nothing of its own: how a host is reached are the common options `deployment.targetHost`, `.targetPort`,
 * `.targetUser`, `.targetHostKey`, `.sshOptions`, `.privilegeEscalationCommand`.
 */
export const sshConfig = z.strictObject({})
export type SshConfig = z.infer<typeof sshConfig>

/** Nothing is decided before creation, since nothing is created. */
export const sshAllocation = z.strictObject({})
export type SshAllocation = z.infer<typeof sshAllocation>

export const sshHandle = z.strictObject({})
export type SshHandle = z.infer<typeof sshHandle>
