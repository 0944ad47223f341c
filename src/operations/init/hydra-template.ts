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
# hydra-ops init hydra wrote this file, which is yours to change.
#
${commands.map((command) => `#   ${oneLine(command)}`).join('\n')}
#
# docs/options.md of hydra-ops has all options.
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

          # A static binary cache with everything that Hydra builds, signed with a key that is made on the machine.
          # "hydra-ops cache trust-snippet" prints the settings with which clients use the cache.
          cache.enable = true;

          # The reverse proxy for Hydra and its cache. Encryption: nginx.tls = "self-signed", "files" or "acme".
          nginx.enable = true;

          # The first user. Further users: users.<name>, or "hydra-ops hydra user add".
          admin = {
            userName = ${nixString(answers.admin)};
            fullName = ${nixString(answers.fullName)};
            emailAddress = ${nixString(answers.email)};
${indent(12, passwordLines(answers))}
          };

          # A mail server for mails about builds, which takes mail only from the machine itself.
          # postfix.enable = true;

          # A weekly garbage collection of the Nix store.
          # gc.automatic = true;
        };
      };
    };
}
`
}

function nixpkgsLines({ nixpkgs, package: chosen }: HydraAnswers): string {
  if (nixpkgs) {
    const what = chosen === undefined ? 'The source of Hydra itself' : 'The source of `pkgs` below'
    return `  # ${what}: <nixpkgs> of this host, a path, or the result of a fetcher.
  network.nixpkgs = <nixpkgs>;
`
  }
  if (chosen !== undefined) return ''
  return `  # Hydra itself comes from nixpkgs, which this host lacked when this file was written. Use the next line, for
  # instance with a path instead of <nixpkgs>, or name a package at hydra.package below. A deploy otherwise sets up
  # everything except Hydra itself.
  # network.nixpkgs = <nixpkgs>;
`
}

function placeLines({ place, hostName }: HydraAnswers): string[] {
  if (place.provider === 'none') {
    return [
      '# An existing Debian host: its address, or its name in your ~/.ssh/config.',
      'targetEnv = "none";',
      `targetHost = ${nixString(place.targetHost)};`,
      '# Any user but root needs sudo.',
      '# targetUser = "admin";',
    ]
  }
  const port = String(place.httpPort)
  const also = hostName.endsWith('.localhost') ? `, in a browser also http://${hostName}:${port}` : ''
  return [
    '# A guest of this host, which libvirt and QEMU run.',
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
      `# Users open http://${hostName}. Set their URL if a proxy is in front of this host:`,
      `# url = ${nixString(`https://${hostName}`)};`,
      '# Opens the ports of the web server in ufw or firewalld on the host:',
      '# openFirewall = true;',
    ]
  }
  return ['# Users open the forwarded port. Set url = "https://…" if a proxy is in front of the port.']
}

function packageText({ package: chosen }: HydraAnswers): string {
  const what = '# Hydra itself: a derivation or a store path.'
  if (chosen === undefined)
    return indent(10, [
      `${what} The default is nixpkgs' package, if the network has nixpkgs.`,
      '# package = pkgs.hydra;',
    ])
  if (!/[\n#]/.test(chosen)) return indent(10, [what, `package = ${chosen};`])
  // A newline follows the text, because its last line may be a comment. The text keeps its indentation, because a
  // string may span several lines.
  return `${indent(10, [what, 'package = ('])}\n${chosen}\n${indent(10, [');'])}`
}

function passwordLines({ password, admin }: HydraAnswers): string[] {
  switch (password.kind) {
    case 'generate':
      return [
        `# The first deploy generates the password; "hydra-ops hydra password ${admin}" shows it.`,
        'password.generate = true;',
      ]
    case 'prompt':
      return ['# The first deploy asks for the password.', 'password.prompt = true;']
    case 'file':
      return [
        '# A deploy reads this file of this host; neither the Nix store nor the state gets the password.',
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
