/** `node --import ./without-conf.mjs …` starts a process in which an import of conf is an error. */
import { register } from 'node:module'

const hook = `export async function resolve(name, context, next) {
  if (name === 'conf') throw new Error('conf was loaded')
  return next(name, context)
}`
register(`data:text/javascript,${encodeURIComponent(hook)}`)
