/** `node run-typescript.mjs FILE.ts ARG…` runs a TypeScript file as a separate process. */
import 'tsx'

const [file = ''] = process.argv.splice(2, 1)
await import(file)
// The process may otherwise hang in Node's shutdown (nodejs/node#54918, once in thousands of runs).
process.exit()
