import type * as z from 'zod'
import { DebianOptions } from './debian-options.js'

/** Options of `deployment.*` on a NixOS machine. NixOS has options of its own for packages. */
export const NixosOptions = DebianOptions.omit({ aptPackages: true, aptProxy: true })
export type NixosOptions = z.infer<typeof NixosOptions>
