import { existsSync } from 'node:fs'
import { type Answer, answer, errorLine, type Place, Refusal, refusal, unknown } from './answer.js'
import { absolute, type Call, findMachine, lockForWrite } from './call.js'

const misc = 'VBoxManageMisc.cpp'

/** Implements `sharedfolder add|remove MACHINE --name NAME [--hostpath PATH] [--readonly] [--automount]`. */
export async function sharedFolder(call: Call): Promise<Answer> {
  const verb = call.words.next()
  const owner = call.words.next()
  if ((verb !== 'add' && verb !== 'remove') || owner === undefined)
    throw unknown('these words of sharedfolder')
  const given: Record<string, string> = {}
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (word === '--name' || word === '--hostpath') given[word] = call.words.value() ?? ''
    else if (['--readonly', '--automount', '--transient'].includes(word)) given[word] = ''
    else throw unknown(`sharedfolder ${verb} ${word}`)
  }
  const { '--name': name, '--hostpath': path } = given
  if (name === undefined || (verb === 'add' && path === undefined))
    throw unknown('these words of sharedfolder')
  const line = verb === 'add' ? 1673 : 1790
  const machine = await findMachine(call, owner, [
    'FindMachine(Bstr(pszMachineName).raw(), machine.asOutParam())',
    line,
    misc,
  ])
  if ('--transient' in given) {
    if (call.store.session(machine.uuid) === undefined) {
      throw new Refusal(errorLine(`Machine '${owner}' is not currently running.`))
    }
    throw unknown('sharedfolder --transient on a running machine')
  }
  lockForWrite(call, machine, verb === 'add' ? 1726 : 1830, misc)
  const { hardware } = machine
  const there = hardware.sharedFolders.find((each) => each.name === name)
  if (verb === 'remove') {
    if (there === undefined) {
      const details = { code: 'VBOX_E_OBJECT_NOT_FOUND', component: 'SessionMachine' } as const
      const place: Place = ['RemoveSharedFolder(Bstr(pszName).raw())', 1836, misc]
      throw refusal(`Could not find a shared folder named '${name}'`, details, place)
    }
    hardware.sharedFolders = hardware.sharedFolders.filter((each) => each !== there)
  } else {
    const place: Place = [
      'CreateSharedFolder(Bstr(pszName).raw(), Bstr(szAbsHostPath).raw(), fWritable, fAutoMount, Bstr(pszAutoMountPoint).raw())',
      1732,
      misc,
    ]
    if (there !== undefined) {
      const details = { code: 'VBOX_E_OBJECT_IN_USE', component: 'SessionMachine' } as const
      throw refusal(`Shared folder named '${name}' already exists`, details, place)
    }
    const hostPath = absolute(call, path ?? '')
    if (!existsSync(hostPath)) {
      const details = { code: 'NS_ERROR_INVALID_ARG', component: 'SharedFolderWrap' } as const
      const message = `RTPathQueryInfo failed on shared folder path '${hostPath}': VERR_FILE_NOT_FOUND`
      throw refusal(message, details, place)
    }
    hardware.sharedFolders.push({
      name,
      hostPath,
      writable: !('--readonly' in given),
      autoMount: '--automount' in given,
    })
  }
  call.store.saveMachine(machine)
  return answer()
}
