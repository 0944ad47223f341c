import { describe, expect, it } from 'vitest'
import { optionsSetBy } from '../../src/core/config-general.js'

/**
 * Texts with the options that Config::General 2.65 of Debian 12 sets outside blocks for each text
 * (measured).
 */
const read: readonly (readonly [string, string, readonly string[]])[] = [
  ['an equal sign', 'store_uri = s3://bucket', ['store_uri']],
  ['an equal sign without blanks', 'store_uri=s3://bucket', ['store_uri']],
  ['a blank', 'max_servers   7', ['max_servers']],
  ['tabs and the line end of Windows', '  \tbase_uri\t=\t1\r\n', ['base_uri']],
  ['no value', 'base_uri', ['base_uri']],
  ['other letters', 'Base_URI = x', ['Base_URI']],
  ['quotes around its name', '"base_uri" = 3', ['"base_uri"']],
  ['a value that is another name', 'x = base_uri', ['x']],
  ['a comment', '# base_uri = x\n  # max_servers = 1', []],
  ['a comment behind a value', 'x = 1 # base_uri', ['x']],
  ['an escaped comment', '\\# base_uri = y', ['\\#']],
  ['a comment of C', '/* base_uri = x\nx = 1 */\ny = 2', ['y']],
  ['a comment of C within a line', 'a = /* base_uri */ b', ['a']],
  ['a comment of C within another', '/* x\n/* y */ base_uri = 1\n*/ store_uri = 2', ['store_uri']],
  ['a continued value', 'tracker = a\\\n  base_uri = b\nx = 1', ['tracker', 'x']],
  ['a continued name', 'base_\\\nuri = b', ['base_uri']],
  ['a comment that ends in a backslash', 'x = a # c \\\nbase_uri = 1', ['x', 'base_uri']],
  ['a here-document', 'tracker <<E\nstore_uri = x\nE\ny = 1', ['tracker', 'y']],
  ['a here-document with an equal sign', 'tracker = <<E\nstore_uri = x\n  E\ny = 1', ['tracker', 'y']],
  ['a block', '<a>\nbase_uri = x\n</a>', []],
  ['a block in a block', '<a b>\n<c>\nk = 1\n</c>\nbase_uri = 2\n</a>\nmax_servers 7', ['max_servers']],
  ['an empty block', '<a/>\nbase_uri = x', ['base_uri']],
  ['an Include', 'Include /etc/hydra/base_uri\ninclude "base_uri"\nIncludeOptional base_uri', []],
  ['nothing', '', []],
]

describe('the list of options that a text of hydra.conf sets', () => {
  it.each(read)('is read from %s', (_, text, options) => {
    expect([...optionsSetBy(text)]).toEqual(options)
  })
})
