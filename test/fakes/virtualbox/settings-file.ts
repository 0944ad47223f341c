import { basename, dirname } from 'node:path'
import type { Machine, Medium, Snapshot } from './model.js'

/**
 * Returns the text of a machine's settings file. It has the parts of VirtualBox's XML that other programs read, and the
 * stand-in's own data.
 */
export function settingsText(machine: Machine): string {
  const { uuid, name, rootSnapshot: root, currentSnapshot } = machine
  const current = currentSnapshot === undefined ? '' : ` currentSnapshot="{${currentSnapshot}}"`
  return [
    '<?xml version="1.0"?>',
    '<VirtualBox xmlns="http://www.virtualbox.org/" version="1.20-linux">',
    `  <Machine uuid="{${uuid}}" name="${quoted(name)}"${current} snapshotFolder="Snapshots">`,
    ...(root === undefined ? [] : snapshotXml(machine, root)),
    `    <StandIn><![CDATA[${JSON.stringify(machine).replaceAll(']]>', ']]\\u003e')}]]></StandIn>`,
    '  </Machine>',
    '</VirtualBox>',
    '',
  ].join('\n')
}

/** Parses a settings file; returns undefined if the file is damaged. */
export function readSettings(text: string): Machine | undefined {
  const [, content] = /<StandIn><!\[CDATA\[([\s\S]*)\]\]><\/StandIn>/.exec(text) ?? []
  if (content === undefined || !text.includes('</VirtualBox>')) return undefined
  const machine: Machine = JSON.parse(content)
  return machine
}

function snapshotXml(machine: Machine, snapshot: Snapshot): string[] {
  const { uuid, name, description, taken, stateFile, hardware, children } = snapshot
  const at = new Date(taken).toISOString().replace(/\.\d+Z$/, 'Z')
  const folder = dirname(machine.cfgFile)
  const memory =
    stateFile === undefined
      ? ''
      : ` stateFile="${dirname(dirname(stateFile)) === folder ? `Snapshots/${basename(stateFile)}` : stateFile}"`
  const { memory: megabytes = 0, cpus = 1 } = hardware.values
  return [
    `<Snapshot uuid="{${uuid}}" name="${quoted(name)}" timeStamp="${at}"${memory}>`,
    ...(description === '' ? [] : [`<Description>${quoted(description)}</Description>`]),
    `<Hardware><Memory RAMSize="${megabytes}"/>`,
    '<StorageControllers>',
    ...hardware.controllers.flatMap(({ name: controller, slots }) => [
      `<StorageController name="${quoted(controller)}">`,
      ...Object.entries(slots).flatMap(([slot, { kind, medium }]) => deviceXml(slot, kind, medium)),
      '</StorageController>',
    ]),
    '</StorageControllers>',
    '</Hardware>',
    '<Platform architecture="x86">',
    cpus === 1 ? '<CPU/>' : `<CPU count="${cpus}"/>`,
    '</Platform>',
    ...(children.length === 0
      ? []
      : ['<Snapshots>', ...children.flatMap((child) => snapshotXml(machine, child)), '</Snapshots>']),
    '</Snapshot>',
  ]
}

function deviceXml(slot: string, kind: 'hdd' | 'dvddrive', medium: Medium['uuid'] | undefined): string[] {
  const [port = '', device = ''] = slot.split('-')
  return [
    `<AttachedDevice type="${kind === 'hdd' ? 'HardDisk' : 'DVD'}" port="${port}" device="${device}">`,
    ...(medium === undefined ? [] : [`<Image uuid="{${medium}}"/>`]),
    '</AttachedDevice>',
  ]
}

/** Escapes a text for XML, as VirtualBox does. */
function quoted(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll('\n', '&#10;')
}
