import { execFileSync } from 'node:child_process'
import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Guest } from '../fixtures/guest.js'
import type { SshOperator } from './ssh-operator.js'

/** Tells whether a text holds a secret: as it is, in hex, or in base64 at any of three offsets. */
export function holds(text: string, secret: string): boolean {
  return forms(secret).some((form) => text.includes(form))
}

function forms(secret: string): string[] {
  const base64 = [0, 1, 2].map((offset) => {
    const encoded = Buffer.from(' '.repeat(offset) + secret).toString('base64')
    // The characters at both ends depend on the neighbouring bytes.
    return encoded.slice(offset === 0 ? 0 : 4, -4)
  })
  const hex = Buffer.from(secret).toString('hex')
  return [secret, hex, hex.toUpperCase(), ...base64]
}

/** Returns the text of every file in an operator's state, except the images. */
export function textsOfState(operator: SshOperator): { readonly path: string; readonly text: string }[] {
  const images = join(operator.state, 'images')
  return filesBelow(operator.state)
    .filter((path) => !path.startsWith(images))
    .map((path) => ({ path, text: readFileSync(path, 'latin1') }))
}

/** Lists every file below a folder without following links. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    const seen = lstatSync(path)
    if (seen.isDirectory()) return filesBelow(path)
    return seen.isFile() ? [path] : []
  })
}

/** The options of strace that record every program with all its arguments and its environment. */
export const recordExecs = ['-f', '-v', '-s', '65535', '-e', 'trace=execve', '-o']

/** Copies strace and its libraries into the guest, whose apt reaches no server. */
async function carryStrace(guest: Guest): Promise<void> {
  const libraries = execFileSync('ldd', ['/usr/bin/strace'], { encoding: 'utf8' })
    .split('\n')
    .flatMap((line) => /=> (\S*(?:libunwind|liblzma)\S*)/.exec(line)?.[1] ?? [])
  const archive = execFileSync('tar', ['-chzf', '-', '-C', '/', '/usr/bin/strace', ...libraries], {
    encoding: 'base64',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const put = await guest.ssh(['sh', '-c', 'base64 -d | tar -xz -C /'], { stdin: archive })
  if (put.code !== 0) throw new Error(`strace did not get into the guest\n${put.stderr}`)
}

/** Records every program that starts over ssh from now on, with its arguments and environment. */
export async function recordSsh(guest: Guest): Promise<void> {
  await carryStrace(guest)
  await guest.sh(`systemd-run --quiet --unit=trace-sshd strace ${recordExecs.join(' ')} ${execsFile} -p "$(systemctl show -p MainPID --value ssh)"
for i in $(seq 300); do grep -q '^TracerPid:.*[1-9]' "/proc/$(systemctl show -p MainPID --value ssh)/status" && exit 0; sleep 0.1; done; exit 1`)
}

/**
 * Records every program that starts over ssh, with its arguments and environment. Also records the arguments of all
 * other programs that start on the guest. strace stops programs only at execve here, and must therefore start them
 * itself. A traced program cannot become root with sudo.
 */
export async function recordAll(guest: Guest): Promise<void> {
  await carryStrace(guest)
  await guest.sh(`mkdir -p /etc/systemd/system/ssh.service.d
cat > /etc/systemd/system/ssh.service.d/recorded.conf <<'END'
[Service]
NotifyAccess=all
ExecStart=
ExecStart=strace --seccomp-bpf ${recordExecs.join(' ')} ${execsFile} /usr/sbin/sshd -D $SSHD_OPTS
END
cat > /usr/local/sbin/record-execs <<'END'
${auditListener}END
systemctl daemon-reload
systemd-run --quiet --service-type=notify --property=NotifyAccess=all --unit=record-execs python3 /usr/local/sbin/record-execs
systemctl restart ssh`)
}

const execsFile = '/var/lib/execs'

/**
 * A program that subscribes to the kernel's audit records of each execve, and writes them to a file (linux/audit.h).
 */
const auditListener = `import os, socket, struct
SET, ADD_RULE, EXECVE, RULE_FLAGS = 1001, 1011, 1309, struct.pack("=II", 4, 2)
sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)
sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)
sock.bind((os.getpid(), 0))
def tell(kind, payload):
    sock.send(struct.pack("=IHHII", 16 + len(payload), kind, 5, 1, 0) + payload)
    while True:
        answer = sock.recv(65536)
        if struct.unpack_from("=H", answer, 4)[0] == 2:
            if struct.unpack_from("=i", answer, 16)[0]: raise SystemExit("refused: %r" % answer)
            return
# enabled, failure = silent, pid, rate limit = none, backlog limit
tell(SET, struct.pack("=11I", 0x1f, 1, 0, os.getpid(), 0, 1 << 16, 0, 0, 0, 0, 0))
mask = [0] * 64
for call in (59, 322):
    mask[call // 32] |= 1 << (call % 32)
none = [0] * 63
tell(ADD_RULE, RULE_FLAGS + struct.pack("=I64I", 1, *mask) + struct.pack("=64I", 11, *none)
     + struct.pack("=64I", 0xC000003E, *none) + struct.pack("=64I", 0x40000000, *none) + struct.pack("=I", 0))
with open("${execsFile}.audit", "ab", buffering=0) as out:
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.connect(os.environ["NOTIFY_SOCKET"])
    notify.send(b"READY=1")
    while True:
        message = sock.recv(65536)
        if struct.unpack_from("=H", message, 4)[0] == EXECVE: out.write(message[16:].rstrip(b"\\0") + b"\\n")
`

/** Returns everything recorded until now: strace's records first, then the kernel's. */
export function recordedOnGuest(guest: Guest): Promise<string> {
  return guest.sh(`cat ${execsFile}; ! test -e ${execsFile}.audit || cat ${execsFile}.audit`)
}
