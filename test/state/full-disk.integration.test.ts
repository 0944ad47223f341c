import { expect, it } from 'vitest'
import { startOnSmallDisk } from './processes.js'
import { temporaryFolder } from './temporary-store.js'

it('every write on a full disk is refused in one sentence, and goes on when there is room', async () => {
  const disk = temporaryFolder()
  const worker = startOnSmallDisk(disk, './full-disk-process.ts')
  for (const what of ['update', 'journal', 'create', 'preferences', 'lock']) {
    expect(await worker.said(), what).toEqual({
      what,
      code: 'DISK_FULL',
      exitCode: 1,
      message: expect.stringMatching(/^cannot [^\n]*: no space left on the disk; [^\n]*$/),
      hint: expect.stringContaining('make room'),
      intact: true,
      left: [],
    })
  }
  expect(await worker.said()).toEqual({
    listed: [['lab', 'the last good one']],
    locked: false,
    events: ['begin'],
  })
  expect(await worker.said()).toEqual({ machines: ['web'], events: ['begin', 'room again'] })
  expect(await worker.ended()).toEqual({ code: 0, signal: null, stderr: '' })
})
