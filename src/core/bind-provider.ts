import type { z } from 'zod'
import { failure, usageError } from './errors.js'
import type { Json } from './json.js'
import type { Provider, Resource, Snapshots } from './provider.js'

/** A provider with plain JSON inputs, as the engine uses it. Each call parses its inputs before it passes them on. */
export type AnyProvider = Provider<Json, Json, Json>

type Raw = Resource<Json, Json, Json>

/** Wraps a typed provider so that JSON from the state or the evaluation is validated on entry. */
export function bindProvider<C, A, H>(provider: Provider<C, A, H>): AnyProvider {
  const config = (value: Json): C =>
    parse(provider.configSchema, value, `options of provider ${provider.name}`)
  const parseAllocation = (value: Json): A =>
    parse(provider.allocationSchema, value, `allocation of provider ${provider.name}`)
  // The engine passes every machine's allocation together with the allocations of all siblings. An allocation never
  // changes once it exists, so each allocation is parsed once.
  const parsedAllocations = new WeakMap<object, A>()
  const allocation = (value: Json): A => {
    if (typeof value !== 'object' || value === null) return parseAllocation(value)
    const known = parsedAllocations.get(value) ?? parseAllocation(value)
    parsedAllocations.set(value, known)
    return known
  }
  const handle = (value: Json): H =>
    parse(provider.handleSchema, value, `handle of provider ${provider.name}`)
  const typed = (raw: Raw): Resource<C, A, H> => ({
    ...raw,
    config: config(raw.config),
    allocation: allocation(raw.allocation),
    handle: raw.handle === undefined ? undefined : handle(raw.handle),
  })
  const { portOption, explanations } = provider
  const { console: terminal, listOwned, doctor, ownedPlaces, publishedPort, snapshots } = provider
  return {
    name: provider.name,
    targetEnvs: provider.targetEnvs,
    optionKey: provider.optionKey,
    optionsNix: provider.optionsNix,
    configSchema: provider.configSchema as z.ZodType<unknown> as z.ZodType<Json>,
    allocationSchema: provider.allocationSchema as z.ZodType<unknown> as z.ZodType<Json>,
    handleSchema: provider.handleSchema as z.ZodType<unknown> as z.ZodType<Json>,
    makesMachines: provider.makesMachines,
    ...(portOption === undefined ? {} : { portOption }),
    ...(explanations === undefined ? {} : { explanations }),
    imageReference: (value, os) => provider.imageReference(config(value), os),
    imageId: (value) => provider.imageId(handle(value)),
    ports: (value) => provider.ports(allocation(value)),
    physical: (value) => provider.physical(allocation(value)),
    publishedUrls: (c, a) => provider.publishedUrls(config(c), allocation(a)),
    allocate: async (request) =>
      toJson(
        await provider.allocate({
          ...request,
          config: config(request.config),
          known: request.known === undefined ? undefined : allocation(request.known),
          siblings: new Map([...request.siblings].map(([name, value]) => [name, allocation(value)])),
        }),
      ),
    inspect: (raw, run) => provider.inspect(typed(raw), run),
    plan: (raw, run) => provider.plan(typed(raw), run),
    reconcile: async (raw, options, run) =>
      toJson(
        await provider.reconcile(
          typed(raw),
          { ...options, checkpoint: (value) => options.checkpoint(toJson(value)) },
          run,
        ),
      ),
    start: async (raw, run, takenPorts) => {
      const changed = await provider.start(typed(raw), run, takenPorts)
      return changed === undefined ? undefined : toJson(changed)
    },
    stop: (raw, options, run) => provider.stop(typed(raw), options, run),
    destroy: (raw, run) => provider.destroy(typed(raw), run),
    target: (raw, run) => provider.target(typed(raw), run),
    resourceId: (raw) => provider.resourceId(typed(raw)),
    ...(publishedPort === undefined
      ? {}
      : { publishedPort: (a: Json, port: number) => publishedPort.call(provider, allocation(a), port) }),
    ...(ownedPlaces === undefined
      ? {}
      : { ownedPlaces: (value: Json) => ownedPlaces.call(provider, config(value)) }),
    ...(listOwned === undefined ? {} : { listOwned: (run) => listOwned.call(provider, run) }),
    ...(doctor === undefined ? {} : { doctor: (run) => doctor.call(provider, run) }),
    ...(snapshots === undefined ? {} : { snapshots: boundSnapshots(snapshots, typed) }),
    ...(terminal === undefined
      ? {}
      : {
          console: {
            command: (raw: Raw) => terminal.command(typed(raw)),
            logFile: (raw: Raw) => terminal.logFile(typed(raw)),
          },
        }),
  }
}

function boundSnapshots<C, A, H>(
  power: Snapshots<C, A, H>,
  typed: (raw: Raw) => Resource<C, A, H>,
): Snapshots<Json, Json, Json> {
  return {
    list: (raw, run) => power.list(typed(raw), run),
    create: (raw, wanted, run) => power.create(typed(raw), wanted, run),
    losses: (raw, name, run) => power.losses(typed(raw), name, run),
    restore: async (raw, name, run, takenPorts) => {
      const changed = await power.restore(typed(raw), name, run, takenPorts)
      return changed === undefined ? undefined : toJson(changed)
    },
    delete: (raw, name, run) => power.delete(typed(raw), name, run),
  }
}

function parse<T>(schema: z.ZodType<T>, value: Json, what: string): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  throw usageError(`${what}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not valid'}`)
}

function toJson(value: unknown): Json {
  const text = JSON.stringify(value)
  if (text === undefined)
    throw failure('NOT_JSON', 'a provider returned a value that cannot be stored as JSON')
  return JSON.parse(text) as Json
}
