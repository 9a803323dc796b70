# The line that zsh makes of a line and Tab: `zsh complete.zsh "mailward pol"`. It is the shell of a user with compinit in .zshrc.
home=$(mktemp -d)
cat >$home/.zshrc <<'END'
autoload -Uz compinit
compinit -u -D
complete-and-leave() { zle complete-word; print -r -- $BUFFER >$ZDOTDIR/line; exit }
zle -N complete-and-leave
bindkey '^I' complete-and-leave
END
zmodload zsh/zpty
zpty shell "TERM=xterm ZDOTDIR=$home exec zsh -i"
zpty -n -w shell "$1"$'\t'
while zpty -r shell; do :; done >/dev/null # until it has left
zpty -d shell
cat $home/line
rm -r $home
