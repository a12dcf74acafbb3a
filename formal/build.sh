#!/bin/sh
# Compiles the formal development into build/formal and says what it rests on.
#
#   formal/build.sh              compile, print assumptions, count       (exit 3: something it needs is not installed)
#   formal/build.sh --recheck    and let Coq's small independent checker read every compiled proof again
#   formal/build.sh --checker    and extract the verified checker and compile it to build/formal/check
#
# It fails on an unfinished proof and on any axiom but the four of Coq's classical real numbers.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../build/formal

needs() { # what, the Debian package that has it
    missing="$missing $1"
    packages="$packages $2"
}
missing= packages=
if command -v coqc >/dev/null 2>&1; then
    libraries=$(coqc -where)/user-contrib
    [ -d "$libraries/Coquelicot" ] || needs Coquelicot libcoq-coquelicot
    [ -d "$libraries/Flocq" ] || needs Flocq libcoq-flocq
else
    needs Coq coq
    needs Coquelicot libcoq-coquelicot
    needs Flocq libcoq-flocq
fi
case "$*" in *--checker*)
    command -v ocamlfind >/dev/null 2>&1 || needs ocamlfind ocaml-findlib
    ocamlfind query zarith >/dev/null 2>&1 || needs zarith libzarith-ocaml-dev
    ;;
esac
if [ -n "$missing" ]; then
    echo "formal: not installed:$missing. On Debian 12 or later:"
    echo "    apt-get install --no-install-recommends$packages"
    exit 3
fi

mkdir -p "$out"
files=$(grep '\.v$' "$here/_CoqProject")
for file in $files; do
    cmp -s "$here/$file" "$out/$file" || cp "$here/$file" "$out/$file"
done
cp "$here/_CoqProject" "$out/_CoqProject"
cd "$out"
if grep -nE '\b(Admitted|admit|Abort|Axiom|Axioms|Parameter|Parameters|Conjecture|bypass_check)\b' $files; then
    echo "formal: a proof is unfinished, or something is assumed" >&2
    exit 1
fi
coq_makefile -f _CoqProject -o Makefile.coq >/dev/null
make --no-print-directory -s -f Makefile.coq -j1 >build.log 2>&1 || { cat build.log >&2; exit 1; }

# Everything that is proved, in one term, and what that term rests on.
names=$(for file in $files; do
    sed -nE "s/^(Theorem|Lemma|Corollary) ([^ :({]+).*/\1 @${file%.v}.\2/p" "$file"
done)
{
    echo "From Formal Require $(for file in $files; do printf '%s ' "${file%.v}"; done | sed 's/ $/./')"
    echo "$names" | awk '{ printf "Definition p%d := %s.\n", NR, $2 } END {
        printf "Definition everything := ("; for (i = 1; i < NR; i++) printf "p%d, ", i; printf "p%d).\n", NR }'
    echo "Print Assumptions everything."
} >Everything.v
coqc -w none -Q . Formal Everything.v >assumptions.log
axioms=$(grep '^[^ ]' assumptions.log | grep -v '^Axioms:$' | sed 's/ .*//' | LC_ALL=C sort -u)
allowed="ClassicalDedekindReals.sig_forall_dec
ClassicalDedekindReals.sig_not_dec
Classical_Prop.classic
FunctionalExtensionality.functional_extensionality_dep"
if [ "$axioms" != "$allowed" ]; then
    echo "formal: other axioms than those of the classical real numbers:" >&2
    cat assumptions.log >&2
    exit 1
fi
case "$*" in *--checker*)
    cp "$here"/check/* .
    coqc -w none -Q . Formal Extract.v >extract.log 2>&1 || { cat extract.log >&2; exit 1; }
    rm -f verified.mli
    ocamlfind ocamlopt -package zarith -linkpkg verified.ml main.ml -o check
    echo "formal: the verified checker is build/formal/check"
    ;;
esac
case "$*" in *--recheck*)
    coqchk -silent -o -Q . Formal Formal.Everything >recheck.log 2>&1 || { cat recheck.log >&2; exit 1; }
    echo "formal: rechecked by coqchk"
    ;;
esac
echo "$names" | awk -v axioms="$(echo "$axioms" | tr '\n' ' ')" '
    $1 == "Theorem" { theorems++ }
    END { printf "formal: %d statements proved, %d of them theorems, by Coq; axioms: %s\n", NR, theorems, axioms }'
