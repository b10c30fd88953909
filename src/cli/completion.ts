/**
 * `loradrop completion bash | zsh | fish`: a script that makes a shell complete commands, options and their choices.
 *
 * The script is made from the commands' own definitions and holds every word, so that no key press starts Node: that would
 * take a quarter of a second. The libraries for commander looked at (omelette, tabtab, @bomb.sh/tab) all do.
 */
import { Argument, type Command } from 'commander';
import type { Registration } from './registration.ts';

/** What can follow one command, whose words are `path`; none for the program itself. */
type Completions = {
  readonly path: string;
  readonly words: readonly { readonly word: string; readonly about: string }[];
  /** Values of options that have a fixed set of them. */
  readonly values: readonly { readonly option: string; readonly choices: readonly string[] }[];
};

export const registerCompletion: Registration = (command, output) => {
  command
    .addArgument(new Argument('<shell>', 'the shell').choices(['bash', 'zsh', 'fish']))
    .addHelpText(
      'after',
      `
  bash  loradrop completion bash > ~/.local/share/bash-completion/completions/loradrop
  zsh   loradrop completion zsh > "\${fpath[1]}/_loradrop"
  fish  loradrop completion fish > ~/.config/fish/completions/loradrop.fish`,
    )
    .action((shell: 'bash' | 'zsh' | 'fish') => {
      const all = [...completionsOf(command.parent!)];
      output.line({ bash, zsh, fish }[shell](all));
    });
};

function* completionsOf(command: Command, path = ''): Generator<Completions> {
  const options = command.options.filter(({ hidden, long }) => !hidden && long);
  yield {
    path,
    words: [
      ...command.commands.map((each) => ({ word: each.name(), about: each.description() })),
      ...command.registeredArguments
        .flatMap(({ argChoices = [] }) => argChoices)
        .map((word) => ({ word, about: '' })),
      ...options.map((option) => ({ word: option.long!, about: option.description })),
      { word: '--help', about: 'display help' },
    ],
    values: options.flatMap(({ long, argChoices }) =>
      argChoices ? [{ option: long!, choices: argChoices }] : [],
    ),
  };
  for (const each of command.commands) yield* completionsOf(each, `${path} ${each.name()}`.trim());
}

/** Text in single quotes, for any of the three shells. */
const quote = (text: string) => `'${text.replaceAll("'", '').replaceAll('\\', '')}'`;
/** The first sentence, short enough for a line of a menu. */
const brief = (text: string) => (/^(.*?[.;:])(\s|$)/.exec(text)?.[1] ?? text).slice(0, 70);

function bash(all: readonly Completions[]): string {
  const paths = all.filter(({ path }) => path !== '').map(({ path }) => quote(path));
  const words = all.map(
    ({ path, words }) => `    ${quote(path)}) words=${quote(words.map(({ word }) => word).join(' '))} ;;`,
  );
  const values = all.flatMap(({ path, values }) =>
    values.map(
      ({ option, choices }) =>
        `    ${quote(`${path} ${option}`)}) words=${quote(choices.join(' '))}; values=1 ;;`,
    ),
  );
  return `# bash completion for loradrop
_loradrop() {
  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} path= word words= values=
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "\${path:+$path }$word" in
      ${paths.join('|')}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
${words.join('\n')}
  esac
  case "$path $before" in
${values.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _loradrop loradrop`;
}

function zsh(all: readonly Completions[]): string {
  const described = (word: string, about: string) => quote(`${word}:${brief(about)}`);
  const cases = all.map(
    ({ path, words }) =>
      `    ${quote(path)}) words_=(${words.map(({ word, about }) => described(word, about)).join(' ')}) ;;`,
  );
  const values = all.flatMap(({ path, values }) =>
    values.map(
      ({ option, choices }) =>
        `    ${quote(`${path} ${option}`)}) compadd -- ${choices.map(quote).join(' ')}; return ;;`,
    ),
  );
  const paths = all.filter(({ path }) => path !== '').map(({ path }) => quote(path));
  return `#compdef loradrop
_loradrop() {
  local path_= word
  local -a words_
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "\${path_:+$path_ }$word" in
      ${paths.join('|')}) path_="\${path_:+$path_ }$word" ;;
    esac
  done
  case "$path_ \${words[CURRENT-1]}" in
${values.join('\n')}
  esac
  case "$path_" in
${cases.join('\n')}
  esac
  _describe 'loradrop' words_ || _files
}
if [ "$funcstack[1]" = _loradrop ]; then _loradrop "$@"; else compdef _loradrop loradrop; fi`;
}

function fish(all: readonly Completions[]): string {
  const paths = all.filter(({ path }) => path !== '').map(({ path }) => quote(path));
  const lines = all.flatMap(({ path, words, values }) => {
    const when = `-n ${quote(`__loradrop_at ${path}`.trim())}`;
    return [
      ...words.map(({ word, about }) => {
        const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-f -a ${quote(word)}`;
        const choices = values.find(({ option }) => option === word)?.choices;
        return `complete -c loradrop ${when} ${what}${choices ? ` -x -a ${quote(choices.join(' '))}` : ''}${about ? ` -d ${quote(brief(about))}` : ''}`;
      }),
    ];
  });
  return `# fish completion for loradrop
function __loradrop_at
  set -l path
  for word in (commandline -opc)[2..]
    if contains -- (string join -- ' ' $path $word) ${paths.join(' ')}
      set -a path $word
    end
  end
  test "$path" = "$argv"
end
${lines.join('\n')}`;
}
