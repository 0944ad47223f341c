import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { packageRoot } from '../../src/core/package-root.js'
import { rootLogin, type SshOperator, sshOperator } from '../e2e/ssh-operator.js'
import { type Guest, startGuest } from '../fixtures/guest.js'
import { readDocument } from './documents.js'
import { codeBlocks } from './markdown.js'

/**
 * These tests run the manual steps of docs/how-it-works.md on a guest, which hydra-ops then inspects. The document has
 * only examples for Hydra itself and nginx.
 */
let guest: Guest
let operator: SshOperator

beforeAll(async () => {
  guest = await startGuest({ name: 'ci' })
  operator = sshOperator()
  operator.sshConfig(rootLogin('ci.example', guest))
  const packages = join(packageRoot(), 'test/fixtures/packages')
  cpSync(packages, join(operator.folder, 'packages'), { recursive: true })
  operator.write(
    'network.nix',
    `{
  ci.deployment = {
    os = "debian";
    targetEnv = "none";
    targetHost = "ci.example";
    targetHostKey = "${guest.hostKey}";
    hydra = {
      enable = true;
      package = (import ./packages { }).hydra;
      hostName = "hydra.example.org";
      cache.enable = true;
    };
  };
}
`,
  )
  await operator.ok(['create', 'network.nix', '-d', 'ci'])
  await operator.ok(['deploy', '-d', 'ci', '--create-only'])
})
afterAll(async () => {
  await guest?.dispose()
  operator?.dispose()
})

const Rows = z.array(z.object({ task: z.string(), detail: z.string().optional() }))

async function detail(id: string): Promise<string | undefined> {
  const rows = Rows.parse(JSON.parse(await operator.ok(['setup', 'status', '-d', 'ci', '--json'])))
  return rows.find(({ task }) => task === id)?.detail
}

/** Returns the code blocks in a task's section. */
function blocksOf(id: string, language: string): string[] {
  const blocks = codeBlocks(readDocument('docs/how-it-works.md'))
  return blocks
    .filter((block) => block.heading.startsWith(`\`${id}\`:`) && block.language === language)
    .map(({ text }) => text)
}

const clusterFiles = '/etc/postgresql/15/main'
const dropIn = '/etc/systemd/system/postgresql@.service.d/hydra.conf'
const settings = '/etc/nix/hydra-ops.conf'

/** Shell commands that place the document's files on the machine, by task. */
const placed: Readonly<Record<string, readonly string[]>> = {
  nix: [`cat > ${settings}`],
  postgresql: [
    `{ cat; cat ${clusterFiles}/pg_hba.conf; } > /var/tmp/new && cat /var/tmp/new > ${clusterFiles}/pg_hba.conf`,
    `cat >> ${clusterFiles}/pg_ident.conf`,
    `mkdir -p "$(dirname ${dropIn})" && cat > ${dropIn}`,
  ],
}

// The look notices that hydra-ops did not do these tasks. Files placed by hand lack the first line, which names
// hydra-ops.
it.each<[string, string]>([
  ['nix', `${settings} differs`],
  ['hydra-accounts', 'not recorded yet'],
  ['postgresql', `${dropIn} differs`],
  ['cache-key', 'not recorded yet'],
  ['binary-cache', 'not recorded yet'],
])('the document has the files of %s', async (id, seen) => {
  const files = blocksOf(id, 'ini')
  expect(files).toHaveLength(placed[id]?.length ?? 0)
  for (const [index, place] of (placed[id] ?? []).entries())
    await guest.sh(`(${place}) <<'END'\n${files[index]}\nEND`)
  const commands = blocksOf(id, 'console')
  expect(commands).toHaveLength(1)
  if (id === 'postgresql') await guest.sh('systemctl start postgresql')
  await guest.sh(commands.join('\n'))
  expect(await detail(id)).toBe(seen)
})
