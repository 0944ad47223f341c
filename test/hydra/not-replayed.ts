/**
 * Recordings for which the stand-ins answer differently from Hydra, by reason. The test fails if an answer agrees with
 * one of these recordings.
 */
const byReason: Readonly<Record<string, readonly string[]>> = {
  'a page for people: the stand-in shows one of its own, which says that it is a stand-in': [
    'api-push-unparsable',
    'build-evals',
    'build-log',
    'channel-latest',
    'eval-1-channel',
    'job-get',
    'queue-summary',
    'steps',
    'user-get',
    'users',
  ],
  'figures of Perl and of Hydra for Prometheus: the stand-in has none': [
    'job-prometheus',
    'job-prometheus-failed',
    'job-prometheus-no-builds',
    'metrics',
    'prometheus',
  ],
  'the recorded archive is none any more: its paths were rewritten, the lengths before them were not': [
    'build-output',
    'nix-serve-direct-nar',
    'nix-serve-direct-nar-old',
    'nix-serve-nginx-nar',
    'nix-serve-nginx-nar-old',
  ],
  'the export of a closure, which nothing of ours asks for': ['build-nix-closure'],
  'a chart of the web interface': ['job-build-times'],
  'clearing the queue by hand, which the web interface alone offers': ['admin-clear-queue'],
  'a comparison of two revisions, which the web interface alone asks for': ['api-scmdiff'],
}

/** The reason for each recording, by the recording's name. */
export const notReplayed: ReadonlyMap<string, string> = new Map(
  Object.entries(byReason).flatMap(([reason, names]) => names.map((name) => [name, reason] as const)),
)
