# What zsh makes of a line and Tab: `zsh -f complete.zsh "mailward pol"`
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1=; autoload -Uz compinit; compinit -u -D; print READY'
zpty -r shell seen '*READY*READY*'
zpty -n -w shell "$1"$'\t'
sleep 1
zpty -r shell seen '*'
print -r -- "$seen"
zpty -d shell
