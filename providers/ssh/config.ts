import * as z from 'zod'

/**
 * Empty options, because the common options describe a host: `deployment.targetHost`, `.targetPort`, `.targetUser`,
 * `.targetHostKey`, `.sshOptions`, `.privilegeEscalationCommand`.
 */
export const SshConfig = z.strictObject({})
export type SshConfig = z.infer<typeof SshConfig>

/** Empty allocation, because no resource is created. */
export const SshAllocation = z.strictObject({})
export type SshAllocation = z.infer<typeof SshAllocation>

export const SshHandle = z.strictObject({})
export type SshHandle = z.infer<typeof SshHandle>
