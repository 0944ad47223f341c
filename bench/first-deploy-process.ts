/**
 * Deploys machines for the first time, and prints the costs as JSON. A process of its own has no memory of other
 * measurements, and is in one file like the command.
 */
import { z } from 'zod'
import { firstDeploy } from './first-deploy.js'

const [count, maxConcurrent] = z.tuple([z.coerce.number(), z.coerce.number()]).parse(process.argv.slice(2))
process.stdout.write(JSON.stringify(await firstDeploy(count, maxConcurrent)))
