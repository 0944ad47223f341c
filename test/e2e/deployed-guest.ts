import type { ChildProcess } from 'node:child_process'
import { type Guest, startGuest } from '../fixtures/guest.js'
import type { Ended } from './operator.js'
import { rootLogin, type SshOperator, sshOperator } from './ssh-operator.js'

/** The wanted configuration of the machine `box`. */
export interface Wish {
  readonly conf?: string
  /** More options, as lines of the machine's definition. The lines may use the names that `network` defines. */
  readonly more?: string
}

/** A guest after a deploy, and its operator. */
export interface DeployedGuest {
  readonly guest: Guest
  readonly operator: SshOperator
  want(wish: Wish): void
  deploy(...flags: string[]): Promise<Ended>
  begin(): BegunDeploy
  dispose(): Promise<void>
}

export interface BegunDeploy {
  readonly ended: Promise<Ended>
  /** Resolves when stderr contains the text; rejects if the process ends without that text. */
  says(text: string): Promise<void>
  kill(): void
  /** Interrupts the process, as Ctrl-C does. */
  interrupt(): void
}

export async function deployedGuest(): Promise<DeployedGuest> {
  const guest = await startGuest({ name: 'box' })
  const operator = sshOperator()
  operator.sshConfig(rootLogin('box.example', guest))
  const want = (wish: Wish) => operator.write('network.nix', network(wish, guest.hostKey))
  const deploy = (...flags: string[]) => operator.run(['deploy', '-d', 'box', ...flags])
  want({})
  await operator.ok(['create', 'network.nix', '-d', 'box'])
  await operator.ok(['deploy', '-d', 'box'])
  return {
    guest,
    operator,
    want,
    deploy,
    begin: () => beginDeploy(operator),
    async dispose() {
      await guest.dispose()
      operator.dispose()
    },
  }
}

function beginDeploy(operator: SshOperator): BegunDeploy {
  let stderr = ''
  let process: ChildProcess | undefined
  const ended = operator.run(['deploy', '-d', 'box'], {
    onSpawn(child) {
      process = child
      child.stderr?.on('data', (text) => {
        stderr += text
      })
    },
  })
  return {
    ended,
    async says(text) {
      let over = false
      void ended.then(() => {
        over = true
      })
      while (!stderr.includes(text)) {
        if (over) throw new Error(`it ended and never said '${text}'\n${stderr}`)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    },
    kill: () => process?.kill('SIGKILL'),
    interrupt: () => process?.kill('SIGINT'),
  }
}

/** Waits until a shell condition holds on the guest; fails after a time limit. */
export async function until(guest: Guest, condition: string): Promise<void> {
  await guest.sh(`for i in $(seq 1200); do if ${condition}; then exit 0; fi; sleep 0.1; done
echo 'never came to hold: ${condition.replaceAll("'", "'\\''")}' >&2; exit 1`)
}

/**
 * Returns a network whose definitions use these functions. `tool name` is a program that prints. `ballast tool` is 100
 * MiB that take a while to copy; its reference makes Nix copy the tool first. `gated name` is an activation program
 * that counts its runs in /var/lib/runs-NAME. Its first run creates /run/waits-NAME, and waits until /run/go-NAME
 * exists.
 */
function network({ conf = 'first', more = '' }: Wish, hostKey: string): string {
  return `let
  sh = name: script: derivation {
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    PATH = "/bin:/usr/bin";
    args = [ "-euc" script ];
  };
  program = name: path: text: sh name ''
    mkdir -p $out/bin
    cat > $out/bin/\${path} <<'END'
    \${text}
    END
    sed -i 's/^ *//' $out/bin/\${path}
    chmod +x $out/bin/\${path}
  '';
  tool = name: program name name ''
    #!/bin/sh
    echo hello
  '';
  ballast = needs: sh "ballast-\${needs.name}" ''
    mkdir $out
    echo \${needs} > $out/needs
    head -c 100M /dev/urandom > $out/bytes
  '';
  gated = name: program "gated-\${name}" "activate" ''
    #!/bin/sh
    echo run >> /var/lib/runs-\${name}
    [ "$(wc -l < /var/lib/runs-\${name})" = 1 ] || exit 0
    sync
    touch /run/waits-\${name}
    until [ -e /run/go-\${name} ]; do sleep 0.1; done
    echo "went on"
  '';
in {
  box = {
    deployment.os = "debian";
    deployment.targetEnv = "none";
    deployment.targetHost = "box.example";
    deployment.targetHostKey = "${hostKey}";
    deployment.files."/etc/box.conf".text = "${conf}\\n";
    ${more}
  };
}
`
}
