// lookup.js lookup|resolve KIND NAME [KIND NAME]... with Node: `lookup` uses the C library, `resolve` uses
// c-ares. For each name, prints one line per answer, or `missing`, or `empty` when the name exists without
// such records, or `failed` and the reason; then `--`.
const dns = require('node:dns').promises;

const NO_ANSWER = { ENOTFOUND: 'missing', ENODATA: 'empty' };
const FAMILIES = { address: 0, a: 4, aaaa: 6 };
const none = (error) => {
  if (error.code in NO_ANSWER) return [];
  throw error;
};

async function answers(way, kind, name) {
  if (kind === 'reverse') return way === 'lookup' ? [(await dns.lookupService(name, 0)).hostname] : dns.reverse(name);
  if (way === 'lookup') {
    return (await dns.lookup(name, { all: true, family: FAMILIES[kind] })).map((found) => found.address);
  }
  if (kind === 'srv') return (await dns.resolveSrv(name)).map((record) => `${record.port} ${record.name}`);
  if (kind === 'txt') return (await dns.resolveTxt(name)).map((strings) => strings.join(''));
  if (kind !== 'address') return (await dns.resolve(name, kind.toUpperCase())).map((found) => JSON.stringify(found));
  const both = [dns.resolve4(name).catch(none), dns.resolve6(name).catch(none)];
  return (await Promise.all(both)).flat();
}

async function main([way, ...asked]) {
  for (let at = 0; at < asked.length; at += 2) {
    const lines = await answers(way, asked[at], asked[at + 1]).catch((error) => [
      NO_ANSWER[error.code] ?? `failed ${error.code}`,
    ]);
    console.log([...(lines.length ? lines : ['missing']), '--'].join('\n'));
  }
}

main(process.argv.slice(2));
