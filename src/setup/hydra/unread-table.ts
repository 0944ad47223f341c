import { failure, type OpsError } from '../../core/errors.js'
import type { Host } from '../../core/ssh.js'
import { type Facts, fact } from '../../remote/run-script.js'

/** Location of Hydra's tables. */
export interface HydraTable {
  readonly database: string
  readonly port: number
}

/** Reason why the database does not show the content of Hydra, with a remedy. */
export interface Unread {
  readonly unread: string
  readonly hint: string
}

/** Describes why a database returned no rows; an empty reason means that Hydra's tables are missing. */
export function unread({ database }: HydraTable, facts: Facts): Unread {
  const reason = fact(facts, 'unread')
  return reason === ''
    ? {
        unread: `the database ${database} lacks the tables of Hydra`,
        hint: 'systemctl restart hydra-init on the machine creates the tables',
      }
    : {
        unread: `the database ${database} cannot be queried: ${reason}`,
        hint: 'hydra-ops setup run postgresql --redo starts PostgreSQL and gives Hydra access on Debian; systemctl status postgresql shows more on NixOS',
      }
}

/** Builds the error for a table that cannot be read: an unreadable table is not an empty table. */
export function unreadable(
  { machine }: Pick<Host, 'machine'>,
  table: 'projects' | 'users',
  { unread, hint }: Unread,
): OpsError {
  return failure('POSTGRESQL', `machine '${machine}': cannot read the ${table} of Hydra: ${unread}`, {
    machine,
    hint,
  })
}
