import { targetFile } from '../core/target-file.js'

/** Returns the Perl program that connects to a Unix socket as each of several users. */
export function askSocket(): string {
  return targetFile('tasks/ask-socket.pl')
}

/**
 * Beginning of PostgreSQL's answer to an admitted client, in hexadecimal: `R`, eight bytes, and `S` (PostgreSQL
 * manual, 55.2).
 */
export const postgresqlWelcome = '52000000080000000053'

/** Message with which an admitted client leaves PostgreSQL, in hexadecimal (PostgreSQL manual, 55.7, Terminate). */
export const postgresqlFarewell = '5800000004'

/** Writes the first message of a PostgreSQL client, in hexadecimal (PostgreSQL manual, 55.7, StartupMessage). */
export function startupMessage(role: string, database: string): string {
  const protocol = Buffer.from([0, 3, 0, 0])
  const names = Buffer.from(`user\0${role}\0database\0${database}\0\0`)
  const length = Buffer.alloc(4)
  length.writeInt32BE(length.length + protocol.length + names.length)
  return Buffer.concat([length, protocol, names]).toString('hex')
}
