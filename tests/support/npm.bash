# npm.bash - for tests that need compilers of other people, sourced by them: npm's packages in the present folder, Motoko.
#
# Exits with 77 where npm, or what it fetches, cannot be had.

# npm_packages NAME@VERSION...
npm_packages() {
  command -v npm > /dev/null && command -v node > /dev/null || { echo "no npm: apt-get install nodejs npm"; exit 77; }
  echo '{}' > package.json
  timeout 600 npm install --ignore-scripts --no-audit --no-fund "$@" > npm.log 2>&1 ||
    { echo "npm cannot fetch $*: $(grep -m 1 -iE 'err' npm.log)"; exit 77; }
}

# motoko_compile FILE.mo...: FILE.wasm beside each.
motoko_compile() {
  node - "$@" <<'JS' || { echo "the Motoko compiler failed"; exit 1; }
const motoko = require('motoko').default || require('motoko'), fs = require('fs');
for (const path of process.argv.slice(2)) {
  motoko.write('program.mo', fs.readFileSync(path, 'utf8'));
  fs.writeFileSync(path.replace(/\.mo$/, '.wasm'), motoko.file('program.mo').wasm('ic').wasm);
}
JS
}
