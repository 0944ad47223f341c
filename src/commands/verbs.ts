import { suggest } from '../core/suggest.js'
import type { Verb } from './verb.js'

/** All verbs, in the order of `--help`. */
export const verbs: readonly Verb[] = [
  {
    name: 'init',
    group: 'Deployments:',
    summary: 'write a first network expression with a whole Hydra',
    load: async () => (await import('./init.js')).registerInit,
  },
  {
    name: 'create',
    group: 'Deployments:',
    summary: 'remember a network expression as a new deployment',
    load: async () => (await import('./create.js')).registerCreate,
  },
  {
    name: 'modify',
    group: 'Deployments:',
    summary: 'change the name, files or search path of a deployment',
    load: async () => (await import('./modify.js')).registerModify,
  },
  {
    name: 'set-args',
    group: 'Deployments:',
    summary: 'remember arguments of the network expression',
    load: async () => (await import('./set-args.js')).registerSetArgs,
  },
  {
    name: 'list',
    group: 'Deployments:',
    summary: 'list the deployments',
    load: async () => (await import('./list.js')).registerList,
  },
  {
    name: 'info',
    group: 'Deployments:',
    summary: 'show the machines of a deployment and whether they are current',
    load: async () => (await import('./info.js')).registerInfo,
  },
  {
    name: 'history',
    group: 'Deployments:',
    summary: 'show who did what to a deployment, and when',
    load: async () => (await import('./history.js')).registerHistory,
  },
  {
    name: 'delete',
    group: 'Deployments:',
    summary: 'forget a deployment',
    load: async () => (await import('./delete.js')).registerDelete,
  },
  {
    name: 'unlock',
    group: 'Deployments:',
    summary: 'remove the lock of a deployment whose holder is gone',
    load: async () => (await import('./unlock.js')).registerUnlock,
  },
  {
    name: 'plan',
    group: 'Machines:',
    summary: 'show what deploy would do, and write nothing',
    load: async () => (await import('./plan.js')).registerPlan,
  },
  {
    name: 'deploy',
    group: 'Machines:',
    summary: 'create and change machines as the network expression says',
    load: async () => (await import('./deploy.js')).registerDeploy,
  },
  {
    name: 'rollback',
    group: 'Machines:',
    summary: 'go back to the system that a NixOS machine had before its last deploy',
    load: async () => (await import('./rollback.js')).registerRollback,
  },
  {
    name: 'destroy',
    group: 'Machines:',
    summary: 'destroy machines, their disks and everything about them',
    load: async () => (await import('./destroy.js')).registerDestroy,
  },
  {
    name: 'start',
    group: 'Machines:',
    summary: 'start machines',
    load: async () => (await import('./start.js')).registerStart,
  },
  {
    name: 'stop',
    group: 'Machines:',
    summary: 'stop machines',
    load: async () => (await import('./stop.js')).registerStop,
  },
  {
    name: 'reboot',
    group: 'Machines:',
    summary: 'reboot machines',
    load: async () => (await import('./reboot.js')).registerReboot,
  },
  {
    name: 'snapshot',
    group: 'Machines:',
    summary: 'keep machines as they are, and bring them back',
    load: async () => (await import('./snapshot.js')).registerSnapshot,
  },
  {
    name: 'send-keys',
    group: 'Machines:',
    summary: 'deliver the keys of machines again',
    load: async () => (await import('./send-keys.js')).registerSendKeys,
  },
  {
    name: 'setup',
    group: 'Machines:',
    summary: 'list the set-up tasks of machines, run a task, or verify all tasks',
    load: async () => (await import('./setup.js')).registerSetup,
  },
  {
    name: 'hydra',
    group: 'Machines:',
    summary: 'show the URLs of Hydra, open Hydra, and manage its users',
    load: async () => (await import('./hydra.js')).registerHydra,
  },
  {
    name: 'cache',
    group: 'Machines:',
    summary: 'show the public key of a binary cache, or the lines that a client needs',
    load: async () => (await import('./cache.js')).registerCache,
  },
  {
    name: 'ssh',
    group: 'Looking:',
    summary: 'log in to a machine, or run a command on it',
    passThrough: true,
    load: async () => (await import('./ssh.js')).registerSsh,
  },
  {
    name: 'ssh-for-each',
    group: 'Looking:',
    summary: 'run a command on every machine at once',
    passThrough: true,
    load: async () => (await import('./ssh-for-each.js')).registerSshForEach,
  },
  {
    name: 'scp',
    group: 'Looking:',
    summary: 'copy files to or from a machine',
    load: async () => (await import('./scp.js')).registerScp,
  },
  {
    name: 'ssh-config',
    group: 'Looking:',
    summary: 'print a configuration for ssh -F, rsync, Ansible',
    load: async () => (await import('./ssh-config.js')).registerSshConfig,
  },
  {
    name: 'check',
    group: 'Looking:',
    summary: 'check that every machine exists, is up, reachable and healthy',
    // NixOps' bit mask uses 0 to 31; errors of the call itself lie above 31.
    statusOf: (code) => (code === 2 ? 64 : code === 130 ? 130 : 69),
    load: async () => (await import('./check.js')).registerCheck,
  },
  {
    name: 'logs',
    group: 'Looking:',
    summary: 'show the logs of the last run, or of an earlier one',
    load: async () => (await import('./logs.js')).registerLogs,
  },
  {
    name: 'console',
    group: 'Looking:',
    summary: 'attach to the serial console of a machine, or show its log',
    load: async () => (await import('./console.js')).registerConsole,
  },
  {
    name: 'image',
    group: 'This host:',
    summary: 'build, list or remove base images',
    load: async () => (await import('./image.js')).registerImage,
  },
  {
    name: 'doctor',
    group: 'This host:',
    summary: 'check this host, and show how to repair each problem',
    load: async () => (await import('./doctor.js')).registerDoctor,
  },
  {
    name: 'config',
    group: 'This host:',
    summary: 'show or change your preferences',
    load: async () => (await import('./config.js')).registerConfig,
  },
]

/** Verbs of NixOps, Morph, Colmena, deploy-rs, Vagrant and Terraform that have other names here. */
const peers: Readonly<Record<string, string>> = {
  apply: 'deploy',
  up: 'deploy',
  switch: 'deploy',
  build: 'deploy --build-only',
  push: 'deploy --copy-only',
  'copy-closure': 'deploy --closure MACHINE=PATH',
  diff: 'plan',
  'dry-run': 'plan',
  preview: 'plan',
  exec: 'ssh-for-each',
  run: 'ssh-for-each',
  'upload-keys': 'send-keys',
  'upload-secrets': 'send-keys',
  'show-arguments': 'info',
  status: 'info',
  show: 'info',
  port: 'info',
  'global-status': 'list',
  ls: 'list',
  rm: 'delete',
  remove: 'delete',
  forget: 'delete',
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
  'check-health': 'check',
  'show-console-output': 'console --log',
  'force-unlock': 'unlock',
  log: 'logs',
  new: 'create',
}

/** Returns the verb that a user of another tool, or a mistyping user, meant. */
export function meantVerb(word: string): string | undefined {
  if (Object.hasOwn(peers, word)) return peers[word]
  return suggest(
    word,
    verbs.map((verb) => verb.name),
  )
}
