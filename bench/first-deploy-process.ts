/**
 * Deploys machines for the first time, and prints the costs as JSON. A separate process starts without the memory
 * of other measurements. The script is bundled into one file, as the command is.
 */
import { z } from 'zod'
import { firstDeploy } from './first-deploy.js'

const [count, maxConcurrent] = z.tuple([z.coerce.number(), z.coerce.number()]).parse(process.argv.slice(2))
process.stdout.write(JSON.stringify(await firstDeploy(count, maxConcurrent)))
