import * as z from 'zod'

/**
 * Empty options: the common options describe a host: `deployment.targetHost`, `.targetPort`, `.targetUser`,
 * `.targetHostKey`, `.sshOptions`, `.privilegeEscalationCommand`.
 */
export const sshConfig = z.strictObject({})
export type SshConfig = z.infer<typeof sshConfig>

/** Empty allocation: no resource is created. */
export const sshAllocation = z.strictObject({})
export type SshAllocation = z.infer<typeof sshAllocation>

export const sshHandle = z.strictObject({})
export type SshHandle = z.infer<typeof sshHandle>
