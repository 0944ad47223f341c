import { describe, expect, it } from 'vitest'
import { verifyNarInfo } from '../../src/setup/narinfo-signature.js'

/** The public key of recorded transcripts, in which Nix 2.8 writes into a cache with `secret-key`. */
const publicKey = 'test-1:uBdJOqiGySkMhaPy65HcDd/aFaLswjp9q2TYjnZl5/w='
const alone = `StorePath: /nix/store/jyz4jgzjmkvlv0g229sk89myw5rj4slg-hydra-ops-signature-test
URL: nar/1xqdvwhsws3l30s0bc5g996gbsrh27wr61pi8dhzj4bn8hpgmq37.nar
Compression: none
FileHash: sha256:1xqdvwhsws3l30s0bc5g996gbsrh27wr61pi8dhzj4bn8hpgmq37
FileSize: 152
NarHash: sha256:1xqdvwhsws3l30s0bc5g996gbsrh27wr61pi8dhzj4bn8hpgmq37
NarSize: 152
References: 
Sig: test-1:vay9/GcEooR3SlchUDdNgQF9T+fhN6m9p5zwUcVApjXCaf+k7sFupNankY1sdZMd+o8zCFQgrch0wJXV9McDCQ==
CA: fixed:r:sha256:1xqdvwhsws3l30s0bc5g996gbsrh27wr61pi8dhzj4bn8hpgmq37
`
const referring = `StorePath: /nix/store/dywngq4ls5ghla9pvbn9fspzwsf8iic1-with-reference
URL: nar/0hc1cwkhnskvfgpr3g7g7yw4vx2ivk2pfkirz97fk0kc7r228kws.nar
Compression: none
FileHash: sha256:0hc1cwkhnskvfgpr3g7g7yw4vx2ivk2pfkirz97fk0kc7r228kws
FileSize: 192
NarHash: sha256:0hc1cwkhnskvfgpr3g7g7yw4vx2ivk2pfkirz97fk0kc7r228kws
NarSize: 192
References: jyz4jgzjmkvlv0g229sk89myw5rj4slg-hydra-ops-signature-test
Sig: test-1:Fiu1KmrVKHA/6HYhHkhgfn6nAo5ruy5y461hnvmsWygJp3qdbeW3mAxLJVbwq0gYNEJHBXkZtSp9jP7RDCBeBw==
CA: text:sha256:1ir4hhjlndcczhylb1iqmk04xsamy11zq56kmvlm57gpl8s81knm
`

describe('verifyNarInfo', () => {
  it('accepts signatures of Nix', () => {
    expect(verifyNarInfo(alone, publicKey)).toBe(true)
    expect(verifyNarInfo(referring, publicKey)).toBe(true)
  })

  it.each([
    ['another path', alone.replace('jyz4', 'jyz5'), publicKey],
    ['another size', alone.replace('NarSize: 152', 'NarSize: 153'), publicKey],
    ['another reference', referring.replace(/References: ./, 'References: z'), publicKey],
    ['no signature', alone.replace(/^Sig: .*\n/m, ''), publicKey],
    ['a signature of another name', alone, publicKey.replace('test-1', 'test-2')],
    ['another key', alone, 'test-1:u0dJOqiGySkMhaPy65HcDd/aFaLswjp9q2TYjnZl5/w='],
    ['a key of another length', alone, 'test-1:AAAA'],
    ['nothing', '', publicKey],
  ])('refuses %s', (_, narinfo, key) => {
    expect(verifyNarInfo(narinfo, key)).toBe(false)
  })
})
