import { suggest } from '../core/suggest.js'
import { verbs } from './verbs.js'

/** Verbs of NixOps, Morph, Colmena, deploy-rs, Vagrant and Terraform that have other names in hydra-ops. */
const verbsHere: Readonly<Record<string, string>> = {
  apply: 'deploy',
  up: 'deploy',
  switch: 'deploy',
  build: 'deploy --build-only',
  push: 'deploy --copy-only',
  boot: 'deploy --boot',
  'dry-activate': 'deploy --dry-activate',
  'copy-closure': 'deploy --closure MACHINE=PATH',
  diff: 'plan',
  'dry-run': 'plan',
  preview: 'plan',
  'list-secrets': 'plan',
  exec: 'ssh-for-each',
  run: 'ssh-for-each',
  'upload-keys': 'send-keys',
  'upload-secrets': 'send-keys',
  'show-arguments': 'info',
  status: 'info',
  show: 'info',
  port: 'info',
  'list-generations': 'info',
  eval: 'show-option OPTION',
  introspect: 'show-option OPTION',
  'show-physical': 'show-option --physical',
  'global-status': 'list',
  ls: 'list',
  rm: 'delete',
  remove: 'delete',
  forget: 'delete',
  'delete-resources': 'destroy',
  mount: 'ssh-config (then: sshfs -F)',
  halt: 'stop',
  shutdown: 'stop',
  suspend: 'stop',
  resume: 'start',
  reload: 'reboot',
  undo: 'rollback',
  restart: 'reboot',
  provision: 'setup run',
  backup: 'snapshot create',
  'backup-status': 'snapshot list',
  restore: 'snapshot restore',
  'remove-backup': 'snapshot delete',
  'clean-backups': 'snapshot delete',
  'nix-info': 'doctor',
  'show-console-output': 'console --log',
  'force-unlock': 'unlock',
  'list-plugins': 'config get plugins',
  log: 'logs',
  new: 'create',
}

/** Verbs of NixOps, Morph and Colmena without an equivalent in hydra-ops, with the alternative. */
const verbsElsewhere: Readonly<Record<string, string>> = {
  clone: 'hydra-ops create FILE… -d NAME creates another deployment from the same files',
  export: 'hydra-ops has no export; copy the state folder (docs/state.md)',
  import:
    'hydra-ops cannot read the state of NixOps; hydra-ops create FILE… -d NAME creates a new deployment',
  rename:
    'rename the machine in the network expression; deploy creates a new machine, and deploy --kill-obsolete destroys the old one',
  edit: 'hydra-ops info names the files; open them in your editor',
  'delete-generation':
    'hydra-ops does not delete generations; run nix-collect-garbage --delete-older-than on the machine',
  'check-health':
    'no verb runs deployment.healthChecks alone; hydra-ops deploy runs them at its end, and hydra-ops check looks at machines, disks and units',
  'dump-nix-paths': 'nothing to do: hydra-ops keeps GC roots of everything that it deployed',
  'apply-local': 'hydra-ops does not deploy to the host on which it runs',
  repl: 'hydra-ops show-option OPTION shows an option of every machine',
}

/**
 * Returns the hint for an unknown verb: the equivalent of another tool's verb, or the verb with the closest
 * spelling.
 */
export function hintForVerb(word: string): string | undefined {
  const instead = own(verbsElsewhere, word)
  if (instead !== undefined) return instead
  const near = suggest(
    word,
    verbs.map(({ name }) => name),
  )
  const meant = own(verbsHere, word) ?? near
  return meant === undefined ? undefined : `did you mean: hydra-ops ${meant}`
}

const oneByOne = 'name the deployments one by one with -d; hydra-ops list shows them'

/** Flags of NixOps, Morph, Colmena and deploy-rs that have another name in hydra-ops, or no equivalent. */
const flagsElsewhere: Readonly<Record<string, string>> = {
  // NixOps
  '-s': 'use --state DIR; hydra-ops cannot read the state of NixOps',
  '--network': 'hydra-ops create FILE… -d NAME takes the files of the network',
  '--all': oneByOne,
  '--plan-only': 'hydra-ops plan shows the plan',
  '--evaluate-only': 'hydra-ops plan evaluates, and writes nothing',
  '--read-only-mode': 'hydra-ops plan writes nothing',
  '--repair': 'deploy --check verifies every path on the machines, and copies damaged ones again',
  '--no-sync': 'hydra-ops always writes the copied paths to the disk before a switch',
  '--max-concurrent-copy': 'use --max-concurrent N, which limits the number of machines at once',
  '--max-concurrent-activate': 'use --max-concurrent N, which limits the number of machines at once',
  '--no-wait': 'reboot waits until the machine answers, at most until its deadline',
  '--rescue': 'hydra-ops has no rescue system',
  '--wipe': 'destroy removes the disks, and does not overwrite them',
  '--xml': 'use --json',
  '--now': 'leave the flag out: ssh takes no lock',
  '--template': 'hydra-ops init writes a network expression from a template',
  '-t': 'hydra-ops init writes a network expression from a template',
  '--backup': 'hydra-ops snapshot keeps the state of machines',
  '--no-build-output': 'hydra-ops writes the output of a build to a log; hydra-ops logs shows it',
  // Morph
  '--tagged': "use --on '@TAG'",
  '--upload-secrets': 'leave the flag out: deploy sends keys that changed',
  '--passwd': 'leave the flag out: hydra-ops asks for the sudo password if sudo needs a password',
  '--passcmd': 'leave the flag out: hydra-ops asks for the sudo password if sudo needs a password',
  '--skip-health-checks': 'remove deployment.healthChecks, or use --on-degraded keep',
  '--skip-pre-deploy-checks': 'remove deployment.preDeployChecks',
  '--order-by-tags': 'write network.ordering.tags in the network expression',
  '--timeout': 'each health check has its own deadline: deployment.healthChecks.*.total',
  // Colmena
  '--reboot': 'use --allow-reboot, or --force-reboot to reboot every machine',
  '--no-keys': 'leave the flag out: only keys that changed are sent',
  '--parallel': 'use --max-concurrent N',
  '-p': 'use --max-concurrent N',
  '--eval-node-limit':
    'leave the flag out: hydra-ops evaluates as many machines at once as the memory allows',
  '--evaluator': 'leave the flag out: hydra-ops evaluates as many machines at once as the memory allows',
  '--keep-result': 'leave the flag out: hydra-ops keeps GC roots of what it deploys',
  '--result-path': 'leave the flag out: hydra-ops keeps GC roots of what it deploys',
  '--force-replace-unknown-profiles': 'use --replace-unknown',
  '--build-on-target': 'hydra-ops builds on this host; --builders names other hosts for Nix',
  '--remote-build': 'hydra-ops builds on this host; --builders names other hosts for Nix',
  '--no-substitute':
    'leave the flag out: a machine fetches nothing itself without deployment.substituteOnDestination',
  '--no-gzip': 'leave the flag out: hydra-ops compresses no copy',
  '--nix-option': 'use --option NAME VALUE',
  // deploy-rs
  '--magic-rollback': 'hydra-ops always goes back unless a new login confirms the system',
  '--auto-rollback': 'hydra-ops always goes back after a failed switch',
  '--rollback-succeeded': 'use --on-failure rollback-all',
  '--skip-checks': 'hydra-ops runs no nix flake check',
  '--targets': 'use --include MACHINE…',
  '--ssh-user': 'write deployment.targetUser in the network expression',
  '--ssh-opts': 'write deployment.sshOptions in the network expression',
  '--hostname': 'write deployment.targetHost in the network expression',
}

/** Returns the hint for an unknown flag that belongs to another tool. */
export function hintForFlag(flag: string): string | undefined {
  return own(flagsElsewhere, flag)
}

/** Goals that Morph and Colmena accept as words. */
const goals: Readonly<Record<string, string>> = {
  switch: 'deploy',
  boot: 'deploy --boot',
  test: 'deploy --test',
  'dry-activate': 'deploy --dry-activate',
  build: 'deploy --build-only',
  push: 'deploy --copy-only',
  keys: 'send-keys',
}

/** Verbs that work on machines, but accept no machine names as words. */
const onMachines = new Set(['check', 'deploy', 'destroy', 'plan', 'reboot', 'send-keys', 'start', 'stop'])

/** Returns the hint for words that the verb does not accept: a goal of another tool, or machine names. */
export function hintForWords(words: readonly string[], verb: string | undefined): string | undefined {
  if (verb === undefined || !onMachines.has(verb)) return undefined
  const [goal] = words.flatMap((word) => (verb === 'deploy' ? (own(goals, word) ?? []) : []))
  return goal === undefined ? 'select machines with --include MACHINE…' : `did you mean: hydra-ops ${goal}`
}

function own(table: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined
}

/** All hints, for tests that compare them with the verbs and flags of hydra-ops. */
export const peerHints: readonly {
  readonly kind: 'verb' | 'flag'
  readonly word: string
  readonly hint: string
}[] = [
  ...[...Object.keys(verbsHere), ...Object.keys(verbsElsewhere)].map((word) => ({
    kind: 'verb' as const,
    word,
    hint: hintForVerb(word) ?? '',
  })),
  ...Object.entries(flagsElsewhere).map(([word, hint]) => ({ kind: 'flag' as const, word, hint })),
]
