import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * A systemctl in `root`/bin that keeps a file per unit (`active-NAME`, `enabled-NAME`) and writes down its calls.
 * Where the file `fail-restart` is, nothing can be restarted.
 */
export function standInSystemctl(root: string): void {
  const body = `
echo "$*" >> '${root}/calls'
[ "$1" != --quiet ] || shift
verb=$1
shift
[ "$1" != --now ] || { rm -f "${root}/active-$2"; shift; }
case $verb in
  is-active) if [ -e "${root}/active-$1" ]; then echo active; else echo inactive; exit 3; fi ;;
  is-enabled) if [ -e "${root}/enabled-$1" ]; then echo enabled; else echo disabled; exit 1; fi ;;
  restart) [ ! -e '${root}/fail-restart' ] || exit 1; for unit do : > "${root}/active-$unit"; done ;;
  start) for unit do : > "${root}/active-$unit"; done ;;
  stop) for unit do rm -f "${root}/active-$unit"; done ;;
  enable) for unit do : > "${root}/enabled-$unit"; done ;;
  disable) for unit do rm -f "${root}/enabled-$unit"; done ;;
esac
`
  writeFileSync(join(root, 'bin/systemctl'), `#!/bin/sh\n${body}`, { mode: 0o755 })
  writeFileSync(join(root, 'bin/journalctl'), '#!/bin/sh\necho "a line of the journal"\n', { mode: 0o755 })
}
