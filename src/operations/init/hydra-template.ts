import { nixString } from '../../core/nix-string.js'

/** Validated answers for a network expression with a Hydra. */
export interface HydraAnswers {
  readonly place: { readonly provider: 'libvirtd'; readonly httpPort: number } | HostPlace
  readonly hostName: string
  readonly admin: string
  readonly fullName: string
  readonly email: string
  readonly password:
    | { readonly kind: 'generate' | 'prompt' }
    | { readonly kind: 'file'; readonly path: string }
  /** Package as Nix text; `undefined` means nixpkgs' own. */
  readonly package: string | undefined
  /** Whether `<nixpkgs>` becomes the network's nixpkgs. */
  readonly nixpkgs: boolean
}

interface HostPlace {
  readonly provider: 'none'
  readonly targetHost: string
}

/** Name of the machine, as in the documentation. */
export const hydraMachine = 'ci'

/**
 * Writes a network expression with one Hydra, for people to read and change. `commands` are the commands that deploy
 * it.
 */
export function hydraTemplate(answers: HydraAnswers, commands: readonly string[]): string {
  return `# A whole Hydra: PostgreSQL, evaluator, queue runner, web server, a signed binary cache, and the first user.
# Written by hydra-ops init hydra; from here on it is yours.
#
${commands.map((command) => `#   ${oneLine(command)}`).join('\n')}
#
# All options: docs/options.md of hydra-ops.
{
  network.description = "Hydra";

${nixpkgsLines(answers)}
  ${hydraMachine} =
    { pkgs, ... }:
    {
      deployment = {
        os = "debian";

${indent(8, placeLines(answers))}

        hydra = {
          enable = true;
          hostName = ${nixString(answers.hostName)};
${indent(10, urlLines(answers))}

${packageText(answers)}

          # All that Hydra builds goes to a static binary cache, signed with a key that is made on the machine:
          # "hydra-ops cache trust-snippet" prints what others need to take paths from it.
          cache.enable = true;

          # The reverse proxy before Hydra and its cache. Encryption: nginx.tls = "self-signed", "files" or "acme".
          nginx.enable = true;

          # Who logs in first. Further ones: users.<name>, or "hydra-ops hydra user add".
          admin = {
            userName = ${nixString(answers.admin)};
            fullName = ${nixString(answers.fullName)};
            emailAddress = ${nixString(answers.email)};
${indent(12, passwordLines(answers))}
          };

          # Mails about builds, by a mail server on the machine that takes mail from nobody else.
          # postfix.enable = true;

          # Once a week, what nothing needs any more is removed from the Nix store.
          # gc.automatic = true;
        };
      };
    };
}
`
}

function nixpkgsLines({ nixpkgs, package: chosen }: HydraAnswers): string {
  if (nixpkgs) {
    const what = chosen === undefined ? 'Hydra itself is that of nixpkgs' : 'What `pkgs` is below'
    return `  # ${what}: <nixpkgs> of this host, or a path, or what a fetcher returns.
  network.nixpkgs = <nixpkgs>;
`
  }
  if (chosen !== undefined) return ''
  return `  # Hydra itself is that of nixpkgs, when there is one; this host had none when this file was written. Either take
  # the next line, for instance with a path instead of <nixpkgs>, or name a package at hydra.package below. Without
  # both, all but Hydra itself is set up.
  # network.nixpkgs = <nixpkgs>;
`
}

function placeLines({ place, hostName }: HydraAnswers): string[] {
  if (place.provider === 'none') {
    return [
      '# A Debian host that exists: its address, or its name in your ~/.ssh/config.',
      'targetEnv = "none";',
      `targetHost = ${nixString(place.targetHost)};`,
      '# Not root: then sudo is used.',
      '# targetUser = "admin";',
    ]
  }
  const port = String(place.httpPort)
  const also = hostName.endsWith('.localhost') ? `, in a browser also http://${hostName}:${port}` : ''
  return [
    '# A guest of this host, made by libvirt and QEMU without root.',
    'targetEnv = "libvirtd";',
    'libvirtd = {',
    '  memorySize = 3072; # MiB',
    '  vcpu = 2;',
    '  baseImageSize = 20; # GiB',
    `  # The web interface: http://127.0.0.1:${port} on this host${also}.`,
    '  forwardPorts = [',
    '    {',
    `      host = ${port};`,
    '      guest = 80;',
    '    }',
    '  ];',
    '};',
  ]
}

function urlLines({ place, hostName }: HydraAnswers): string[] {
  if (place.provider === 'none') {
    return [
      `# Users open http://${hostName}; where something stands before this host, say what they open:`,
      `# url = ${nixString(`https://${hostName}`)};`,
      '# Opens the ports of the web server in the firewall of the host, if one is active:',
      '# openFirewall = true;',
    ]
  }
  return [
    '# What users open is the forwarded port; where something stands before it, say so with url = "https://…".',
  ]
}

function packageText({ package: chosen }: HydraAnswers): string {
  const what = '# Hydra itself: a derivation or a store path.'
  if (chosen === undefined)
    return indent(10, [
      `${what} Left out, it is that of nixpkgs, when there is one.`,
      '# package = pkgs.hydra;',
    ])
  if (!/[\n#]/.test(chosen)) return indent(10, [what, `package = ${chosen};`])
  // The text has its own lines, so that a comment in it ends there. The text keeps its indentation, because a string
  // may span several lines.
  return `${indent(10, [what, 'package = ('])}\n${chosen}\n${indent(10, [');'])}`
}

function passwordLines({ password, admin }: HydraAnswers): string[] {
  switch (password.kind) {
    case 'generate':
      return [
        `# Made up at the first deploy; "hydra-ops hydra password ${admin}" shows it.`,
        'password.generate = true;',
      ]
    case 'prompt':
      return ['# Asked for at the first deploy.', 'password.prompt = true;']
    case 'file':
      return [
        '# Read by deploy on this host; it comes neither into the Nix store nor into the state.',
        `password.file = ${nixString(password.path)};`,
      ]
  }
}

function indent(columns: number, lines: readonly string[]): string {
  return lines.map((line) => (line === '' ? '' : `${' '.repeat(columns)}${line}`)).join('\n')
}

/** Replaces newlines with spaces; a newline would otherwise end the comment. */
function oneLine(text: string): string {
  return text.replaceAll(/[\n\r]+/g, ' ')
}
