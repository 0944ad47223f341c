/** Recordings that the stand-ins do not answer as Hydra did, by reason. The test fails when one of them agrees. */
const byReason: Readonly<Record<string, readonly string[]>> = {}

/** Name -> reason. */
export const notReplayed: ReadonlyMap<string, string> = new Map(
  Object.entries(byReason).flatMap(([reason, names]) => names.map((name) => [name, reason] as const)),
)
