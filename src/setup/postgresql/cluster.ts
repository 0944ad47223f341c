import { failure } from '../../core/errors.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { askMachine } from '../../remote/run-script.js'

/** A cluster of Debian's PostgreSQL, as pg_lsclusters(1) lists it. */
export interface Cluster {
  readonly version: string
  readonly name: string
  readonly port: number
  readonly online: boolean
  /** User who runs the cluster and is its superuser. */
  readonly owner: string
}

/** Names the systemd unit of a cluster; `postgresql.service` is `active` even if the cluster is dead (measured). */
export function clusterUnit(cluster: Pick<Cluster, 'version' | 'name'>): string {
  return `postgresql@${cluster.version}-${cluster.name}.service`
}

/** Lists the clusters: first those with Hydra's database, then the cluster on port 5432, then clusters named `main`. */
export async function findClusters(host: Host, database: string, run: Run): Promise<Cluster[]> {
  const question = { what: 'look for PostgreSQL', script: 'tasks/postgresql/clusters', values: { database } }
  const facts = await askMachine(host, question, run)
  const holders = new Set(facts.get('holder') ?? [])
  const clusters = (facts.get('cluster') ?? []).flatMap(readCluster)
  const rank = (cluster: Cluster) =>
    holders.has(`${cluster.version} ${cluster.name}`)
      ? 0
      : cluster.port === 5432
        ? 1
        : cluster.name === 'main'
          ? 2
          : 3
  return clusters.sort((a, b) => rank(a) - rank(b) || Number(b.version) - Number(a.version))
}

/** Returns the first cluster of `findClusters`, or throws an error if PostgreSQL has no cluster. */
export async function requireCluster(host: Host, database: string, run: Run): Promise<Cluster> {
  const [cluster] = await findClusters(host, database, run)
  if (cluster !== undefined) return cluster
  throw failure('NO_CLUSTER', `machine '${host.machine}': PostgreSQL has no database cluster`, {
    machine: host.machine,
    hint: 'create a cluster on the machine, for instance by: pg_createcluster 15 main --start',
  })
}

function readCluster(line: string): Cluster[] {
  const [version = '', name = '', port = '', status = '', owner = ''] = line.trim().split(/\s+/)
  if (!/^\d+$/.test(port)) return []
  return [{ version, name, port: Number(port), online: status.split(',').includes('online'), owner }]
}
