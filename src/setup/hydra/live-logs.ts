import { type Database, databaseUrl } from './config-text.js'
import { toml } from './joining-builders.js'
import { hydraHome } from './settings.js'

/** Limit of database connections; Debian's PostgreSQL allows 100, and the program alone would use up to 128. */
const mostConnections = 8

/**
 * Writes the settings of hydra-ws, which shows the log of a running build. Its own data folder would be /tmp/hydra.
 * The program exits on an unknown setting. (Keys and defaults: read in Hydra's source at 0d7df7bf, 2026-08-07, and at
 * 0cc23330; tried with a stand-in.)
 */
export function liveLogsSettings(database: Database): string {
  return toml({
    hydraDataDir: hydraHome,
    dbUrl: databaseUrl(database, 'hydra-ws'),
    maxDbConnections: mostConnections,
  })
}
