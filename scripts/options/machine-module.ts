import { z } from 'zod'
import { MorphSecret } from '../../nix/key-options.js'
import { ClosureOptions } from '../../src/core/closure-options.js'
import { MachineKind } from '../../src/core/common-options.js'
import { DebianOptions } from '../../src/core/debian-options.js'
import { HealthChecks } from '../../src/core/health-checks.js'
import { KeyDefinition } from '../../src/core/key-definition.js'
import { declaration, indented, submoduleBody } from './nix-module.js'
import { innerSchema, type OptionSchema, optionSchema, typesOf } from './option-schema.js'

/** Options of Debian machines for which NixOS has options of its own. */
const debianAlone = { aptPackages: true, aptProxy: true } as const

/**
 * Writes nix/options.nix: `deployment.*` of every machine, as a NixOS module. Its types distinguish only kinds of
 * values (text, number, list …), so that definitions merge correctly. The schemas check all further rules, and list
 * every mistake with its file, for machines of all kinds.
 */
export function machineModule(): string {
  const ofSets = DebianOptions.omit({ ...debianAlone, keys: true, healthChecks: true, preDeployChecks: true })
  const { properties = {}, required } = kindsOf(optionSchema(z.strictObject({ os: MachineKind, ...ofSets.shape })))
  const options = Object.entries(properties).map(([name, option]) =>
    name === 'hydra'
      ? 'inherit (import ./hydra-options.nix { inherit mkOption types; }) hydra;'
      : declaration(name, innerSchema(option) ?? {}, isOptional(name, required)),
  )
  const refused = [...Object.keys(DebianOptions.pick(debianAlone).shape), ...Object.keys(ClosureOptions.shape)]
  return onOneLine(`# Generated from the schemas of src/core by scripts/options.ts: change the schemas and run it.
{ lib, ... }:
let
  inherit (lib) mkOption;
  types = import ./types.nix lib;

  # \`deployment.keys.<name>\`; its file is at \`path\`.
  key = types.submodule ({ name, config, ... }: {
    options = {
${indented(submoduleBody(kindsOf(optionSchema(KeyDefinition.omit({ name: true })))), 6)}
      name = mkOption {
        type = types.str;
        default = name;
        description = "Name of the file on the machine.";
      };
      path = mkOption {
        type = types.str;
        default = "\${config.destDir}/\${config.name}";
        description = "Path of the file on the machine.";
      };
    };
  });
  # A text is the old form of NixOps.
  keyOf = name: given:
    if builtins.isString given then key.merge [ "deployment" "keys" name ] [ { file = ./options.nix; value.text = given; } ] else given;

  checks = description: mkOption {
    type = types.submodule {
      options = {
${indented(submoduleBody(kindsOf(optionSchema(HealthChecks))), 8)}
      };
    };
    default = { };
    inherit description;
  };

  # An option of Debian machines; hydra-ops refuses its definitions, with the option of NixOS that does the same.
  debianOption = mkOption {
    type = types.unspecified;
    default = null;
    description = "Option of Debian machines.";
  };
in
{
  options.deployment = {
${indented(options.join('\n'), 4)}
    healthChecks = checks "Checks at the end of a deploy.";
    preDeployChecks = checks "Checks before the machine is touched.";
    keys = mkOption {
      type = types.attrsOf (types.either types.str key);
      default = { };
      apply = builtins.mapAttrs keyOf;
      description = "Secrets by name.";
    };
    secrets = mkOption {
      type = types.attrsOf (types.submodule {
        options = {
${indented(submoduleBody(kindsOf(optionSchema(MorphSecret))), 10)}
        };
      });
      default = { };
      description = "Secrets by name, in Morph's form.";
    };
${refused.map((name) => `    ${name} = debianOption;`).join('\n')}
  };
}
`)
}

/** Writes nix/hydra-options.nix: `deployment.hydra.*`, the largest set in nix/options.nix. */
export function hydraOptionsFile(): string {
  const schema = kindsOf(optionSchema(DebianOptions.pick({ hydra: true })))
  const hydra = innerSchema(schema.properties?.hydra) ?? {}
  return onOneLine(`# Generated from the schemas of src/core by scripts/options.ts: change the schemas and run it.
{ mkOption, types }:
{
${indented(declaration('hydra', hydra, isOptional('hydra', schema.required)), 2)}
}
`)
}

/** Writes each declaration of a simple type on one line, without its example, which docs/options.md has. */
function onOneLine(text: string): string {
  const declared =
    /mkOption \{\n +(type = .*;)\n(?: +(default = .*;)\n)?(?: +example = .*;\n)?(?: +(description = .*;)\n)? +\};/g
  return text.replace(declared, (_, ...parts: (string | undefined)[]) =>
    ['mkOption {', ...parts.slice(0, 3).filter((part) => part !== undefined), '};'].join(' '),
  )
}

function isOptional(name: string, required: readonly string[] | undefined): boolean {
  return required?.includes(name) !== true
}

/** Reduces a schema to the kinds of its values, without bounds and patterns. */
function kindsOf(schema: OptionSchema): OptionSchema {
  const {
    pattern: _pattern,
    minLength: _minLength,
    maxLength: _maxLength,
    minItems: _minItems,
    maxItems: _maxItems,
    minimum: _minimum,
    maximum: _maximum,
    exclusiveMinimum: _exclusiveMinimum,
    propertyNames: _propertyNames,
    ...kinds
  } = schema
  const within = (inner: unknown) => {
    const parsed = innerSchema(inner)
    return parsed === undefined ? inner : kindsOf(parsed)
  }
  const { properties, items, additionalProperties, anyOf, shownType } = kinds
  return {
    ...kinds,
    ...(shownType === 'path' ? { path: true as const } : {}),
    ...(shownType === 'package' ? { nixType: 'types.either types.package types.str' } : {}),
    ...(typesOf(kinds).includes('number') ? { nixType: 'types.number' } : {}),
    ...(properties === undefined
      ? {}
      : { properties: Object.fromEntries(Object.entries(properties).map(([name, each]) => [name, within(each)])) }),
    ...(items === undefined ? {} : { items: within(items) }),
    ...(additionalProperties === undefined ? {} : { additionalProperties: within(additionalProperties) }),
    ...(anyOf === undefined ? {} : { anyOf: anyOf.map(within) }),
  }
}
