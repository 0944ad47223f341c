import { vi } from 'vitest'

// Unit tests share a process, so each file gets fresh modules without another file's state and mocks.
vi.resetModules()
