import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Writes a systemctl to `root`/bin that keeps a file for each unit (`active-NAME`, `enabled-NAME`) and records its
 * calls. Other files cause faults. `fail-restart` makes restarts fail, `fails-NAME` keeps a unit inactive, and
 * `hangs-NAME` makes its start hang. `unknown-NAME` means that the unit does not exist. `show` prints the file `shown`.
 */
export function standInSystemctl(root: string): void {
  const body = `
echo "$*" >> '${root}/calls'
while case $1 in --*) ;; *) false ;; esac; do shift; done
verb=$1
shift
begin() {
  rm -f "${root}/active-$1"
  [ ! -e "${root}/hangs-$1" ] || return 0
  [ ! -e "${root}/fails-$1" ] || return 1
  : > "${root}/active-$1"
}
[ "$1" != --now ] || { rm -f "${root}/active-$2"; shift; }
case $verb in
  is-active)
    status=3
    for unit do if [ -e "${root}/active-$unit" ]; then echo active; status=0; else echo inactive; fi; done
    exit $status ;;
  is-enabled)
    status=1
    for unit do
      # A unit that does not exist ends the list, and has no line (seen with systemd 252).
      [ ! -e "${root}/unknown-$unit" ] || { echo "Failed to get unit file state for $unit: No such file or directory" >&2; exit 1; }
      if [ -e "${root}/enabled-$unit" ]; then echo enabled; status=0; else echo disabled; fi
    done
    exit $status ;;
  restart) [ ! -e '${root}/fail-restart' ] || exit 1; for unit do begin "$unit"; done ;;
  start)
    for unit do begin "$unit" || status=1; done
    for unit do [ ! -e "${root}/hangs-$unit" ] || exec sleep 600; done
    exit "\${status:-0}" ;;
  show) cat '${root}/shown' ;;
  stop) for unit do rm -f "${root}/active-$unit"; done ;;
  enable) for unit do : > "${root}/enabled-$unit"; done ;;
  disable) for unit do rm -f "${root}/enabled-$unit"; done ;;
esac
`
  writeFileSync(join(root, 'bin/systemctl'), `#!/bin/sh\n${body}`, { mode: 0o755 })
  writeFileSync(join(root, 'bin/journalctl'), '#!/bin/sh\necho "a line of the journal"\n', { mode: 0o755 })
}
