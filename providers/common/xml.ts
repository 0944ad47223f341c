import { XMLParser } from 'fast-xml-parser'

/** Reads the XML of a hypervisor. Attributes begin with `@`; the elements of `lists` may occur more than once. */
export function parseXml(text: string, lists: readonly string[]): unknown {
  const parser = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: '@',
    // A name such as 007 must not become a number.
    parseTagValue: false,
    // The parser needs this option for numeric character references.
    htmlEntities: true,
    isArray: (name) => lists.includes(name),
  })
  return parser.parse(text)
}
