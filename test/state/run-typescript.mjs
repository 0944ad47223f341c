/** `node run-typescript.mjs FILE.ts ARG…`: a TypeScript file as a process of its own. */
import 'tsx'

const [file = ''] = process.argv.splice(2, 1)
await import(file)
