import { generateKeyPairSync, sign } from 'node:crypto'

/** Creates a narinfo with the signature of a new key, and returns the key's public part. */
export function signedNarInfo({
  path,
  narHash,
  narSize,
  url,
  more = {},
}: {
  readonly path: string
  readonly narHash: string
  readonly narSize: number
  readonly url: string
  readonly more?: Readonly<Record<string, string>>
}): { readonly text: string; readonly publicKey: string } {
  const pair = generateKeyPairSync('ed25519')
  const raw = pair.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)
  const signature = sign(null, Buffer.from(`1;${path};${narHash};${narSize};`), pair.privateKey)
  const fields = {
    StorePath: path,
    URL: url,
    ...more,
    NarHash: narHash,
    NarSize: String(narSize),
    References: '',
  }
  const lines = Object.entries({ ...fields, Sig: `ci-1:${signature.toString('base64')}` })
  return {
    text: lines.map(([name, value]) => `${name}: ${value}\n`).join(''),
    publicKey: `ci-1:${raw.toString('base64')}`,
  }
}
