import { existsSync, statSync } from 'node:fs'
import { type Answer, answer, errorLine, Refusal, unknown } from './answer.js'
import { absolute, type Call } from './call.js'
import { freshUuid } from './store.js'
import { readVdi, setVdiUuid, vdiFromRaw } from './vdi.js'

const mebibyte = 1024 * 1024

/** Implements `convertfromraw FROM TO --format VDI`. */
export function convertFromRaw(call: Call): Answer {
  const from = call.words.next()
  const to = call.words.next()
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (word !== '--format' || call.words.value() !== 'VDI') throw unknown(`convertfromraw ${word}`)
  }
  if (from === undefined || to === undefined) throw unknown('these words of convertfromraw')
  const [source, target] = [absolute(call, from), absolute(call, to)]
  const begun = `Converting from raw image file="${from}" to file="${to}"...\n`
  if (!existsSync(source)) {
    throw new Refusal(begun + errorLine(`Cannot open file "${from}": VERR_FILE_NOT_FOUND`))
  }
  const { size } = statSync(source)
  const creating = `${begun}Creating dynamic image with size ${size} bytes (${Math.ceil(size / mebibyte)}MB)...\n`
  if (existsSync(target)) {
    throw new Refusal(
      creating +
        errorLine(`VDI: cannot create image '${to}'`) +
        errorLine(
          'Error code VERR_ALREADY_EXISTS at /build/reproducible-path/virtualbox-7.2.22-dfsg/src/VBox/Storage/VDI.cpp(706) in function int vdiImageCreateFile(PVDIIMAGEDESC, unsigned int, PVDINTERFACEPROGRESS, unsigned int, unsigned int)',
        ) +
        errorLine(`Cannot create the disk image "${to}": VERR_ALREADY_EXISTS`),
    )
  }
  vdiFromRaw(source, target, freshUuid())
  return answer('', creating)
}

/** Implements `internalcommands sethduuid FILE [UUID]`. */
export function internalCommand(call: Call): Answer {
  const verb = call.words.next()
  const path = call.words.next()
  const wanted = call.words.next()
  if (verb !== 'sethduuid' || path === undefined || call.words.more) {
    throw unknown(`internalcommands ${verb ?? 'without a verb'}`)
  }
  if (!existsSync(path) || readVdi(path) === undefined) throw unknown('sethduuid of a file that is not a VDI')
  const uuid = wanted ?? freshUuid()
  setVdiUuid(path, uuid)
  return answer(`UUID changed to: ${uuid}\n`)
}
