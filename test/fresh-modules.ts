import { vi } from 'vitest'

// Unit tests share a process: no file meets modules that another file left, with their state or with mocks in them.
vi.resetModules()
