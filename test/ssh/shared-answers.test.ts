import { describe, expect, it } from 'vitest'
import { SharedAnswers } from '../../src/ssh/shared-answers.js'

const answer = new Map([['port', ['22']]])
const version = 'OpenSSH_9.2p1 Debian-2+deb12u7, OpenSSL 3.0.17\n'
const question = { host: 'm1', port: undefined, user: 'me' }

describe('a shared answer of ssh', () => {
  it('holds for seconds, because the user may change the configuration after a failure', () => {
    let now = 0
    const answers = new SharedAnswers(() => now)
    answers.keep(question, answer, version)
    expect(answers.find({ ...question, host: 'm2' })?.get('hostname')).toEqual(['m2'])
    now = 10_001
    expect(answers.find({ ...question, host: 'm2' })).toBeUndefined()
  })

  it('is not made by a program that keeps the names of its files to itself', () => {
    const answers = new SharedAnswers()
    answers.keep(question, answer, '')
    expect(answers.find(question)).toBeUndefined()
  })

  it('is not made of a file that cannot be read', () => {
    const answers = new SharedAnswers()
    answers.keep(question, answer, `${version}debug1: Reading configuration data /nonexistent/config\n`)
    expect(answers.find(question)).toBeUndefined()
  })
})
