import { createPublicKey, verify } from 'node:crypto'

/** DER of an Ed25519 SubjectPublicKeyInfo up to the 32 bytes of the key (RFC 8410). */
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex')

/**
 * Says whether a narinfo has a valid signature by this public key (`NAME:BASE64`). Nix signs a "fingerprint":
 * `1;PATH;NARHASH;NARSIZE;REFERENCES`, with references as full paths, separated by commas.
 */
export function verifyNarInfo(narinfo: string, publicKey: string): boolean {
  const fields = fieldsOf(narinfo)
  const field = (name: string) => narInfoField(narinfo, name)
  const store = field('StorePath').slice(0, field('StorePath').lastIndexOf('/'))
  const references = field('References')
    .split(' ')
    .filter((name) => name !== '')
    .map((name) => `${store}/${name}`)
  const fingerprint = [
    '1',
    field('StorePath'),
    field('NarHash'),
    field('NarSize'),
    references.join(','),
  ].join(';')
  const [keyName, key] = splitKey(publicKey)
  if (key.length !== 32) return false
  const verifier = createPublicKey({ key: Buffer.concat([spkiPrefix, key]), format: 'der', type: 'spki' })
  return fields
    .filter(([name]) => name === 'Sig')
    .map(([, value]) => splitKey(value))
    .some(
      ([name, signature]) => name === keyName && verify(null, Buffer.from(fingerprint), verifier, signature),
    )
}

/** Returns a field of a narinfo, or '' if the field is missing. */
export function narInfoField(narinfo: string, name: string): string {
  return fieldsOf(narinfo).find(([key]) => key === name)?.[1] ?? ''
}

function fieldsOf(narinfo: string): (readonly [string, string])[] {
  return narinfo.split('\n').map((line) => [line.split(': ', 1)[0] ?? '', line.slice(line.indexOf(': ') + 2)])
}

function splitKey(text: string): [string, Buffer] {
  const at = text.indexOf(':')
  return [text.slice(0, at), Buffer.from(text.slice(at + 1), 'base64')]
}
