import * as z from 'zod'

/** Result of the last automatic update, as stored on the machine. */
const UpdateResult = z.object({
  at: z.string(),
  result: z.enum([
    'updated',
    'up-to-date',
    'busy',
    'needs-reboot',
    'rebooting',
    'refused',
    'failed',
    'went-back',
  ]),
  message: z.string(),
  evaluation: z.number().optional(),
  build: z.number().optional(),
  path: z.string().optional(),
})
export type UpdateResult = z.infer<typeof UpdateResult>

/** Parses the line of JSON that an automatic update leaves; returns undefined for a missing or damaged result. */
export function readUpdateResult(text: string | undefined): UpdateResult | undefined {
  if (text === undefined || text.trim() === '') return undefined
  try {
    return UpdateResult.safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}

/** Describes the last automatic update in one sentence. */
export function describeUpdate({ at, result, message }: UpdateResult): string {
  return `automatic update of ${at}: ${result}: ${message}`
}
