// An OpenID provider for tests: the npm package `oidc-provider`, with clients and users of our own.
//
//   node provider.mjs [--port 0] [--id-token-seconds 3600]
//
// Listens on loopback, prints one line of JSON when it is ready, and ends on SIGTERM or SIGINT, or when its standard
// input ends if `--stop-with-stdin` is given. Everything is in memory; keys are made anew at each start.
//
// A user signs in by the package's own pages: a form with `login` and `password` (any password will do), then one that
// asks for consent. Tests may change how long further ID tokens are good for:
//
//   PUT /test/id-token-seconds   with a number as the body
//
// That path is no part of OpenID Connect, and of no use to anybody but a test.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

import Provider from 'oidc-provider';

const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    'id-token-seconds': { type: 'string', default: '3600' },
    'stop-with-stdin': { type: 'boolean', default: false },
  },
});

let idTokenSeconds = seconds(options['id-token-seconds']);

const users = {
  alice: { email: 'alice@shop.example', name: 'Alice Engineer', groups: ['engineering'] },
  rita: { email: 'rita@shop.example', name: 'Rita Release', groups: ['release-managers'] },
  olga: { email: 'olga@shop.example', name: 'Olga Operator', groups: ['platform'] },
  sam: { email: 'sam@shop.example', name: 'Sam Security', groups: ['security'] },
  gina: { email: 'gina@shop.example', name: 'Gina Guard', groups: ['release-managers', 'on-call'] },
  nick: { email: 'nick@shop.example', name: 'Nick Newcomer', groups: [] },
};

// Public clients: what they prove is the PKCE verifier. `other` is somebody else's; its tokens are for another audience.
const client = (client_id, redirect_uris, application_type) => ({
  client_id,
  redirect_uris,
  application_type,
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  token_endpoint_auth_method: 'none',
});
const clients = [
  // A native client may use any port of the loopback interface (RFC 8252, section 7.3).
  client('argocd-cli', ['http://localhost/auth/callback'], 'native'),
  client('argocd-ui', ['https://localhost/auth/callback'], 'web'),
  client('other', ['http://localhost/callback'], 'native'),
];

const server = createServer();
server.listen(Number(options.port), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration());
  const answer = provider.callback();
  server.on('request', (request, response) => {
    if (request.url === '/test/id-token-seconds' && request.method === 'PUT') setSeconds(request, response);
    else answer(request, response);
  });
  process.stdout.write(`${JSON.stringify({
    issuer,
    clients: { cli: 'argocd-cli', ui: 'argocd-ui', other: 'other' },
    users: Object.fromEntries(Object.entries(users).map(([login, { email, groups }]) => [login, { email, groups }])),
  })}\n`);
});

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, stop);
if (options['stop-with-stdin']) process.stdin.resume().on('end', stop).on('error', stop);

function configuration() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: randomBytes(8).toString('hex') };
  return {
    clients,
    claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'], profile: ['name'] },
    // The CLI reads the ID token and asks no user info endpoint: all claims belong into it.
    conformIdTokenClaims: false,
    cookies: { keys: [randomBytes(16).toString('hex')] },
    features: { devInteractions: { enabled: true } },
    findAccount: (_, login) => account(login),
    // The CLI asks for `offline_access`, but never for `prompt=consent`, without which that scope is dropped.
    issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
    jwks: { keys: [jwk] },
    scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
    ttl: { IdToken: () => idTokenSeconds, AccessToken: 3600, AuthorizationCode: 60, Grant: 86400, Interaction: 600, RefreshToken: 86400, Session: 86400 },
  };
}

function account(login) {
  const user = Object.hasOwn(users, login) ? users[login] : undefined;
  return user && { accountId: login, claims: () => ({ sub: login, email_verified: true, ...user }) };
}

function setSeconds(request, response) {
  let body = '';
  request.on('data', (chunk) => { body += chunk; });
  request.on('end', () => {
    try {
      idTokenSeconds = seconds(body);
      response.writeHead(204).end();
    } catch (error) {
      response.writeHead(400, { 'content-type': 'text/plain' }).end(`${error.message}\n`);
    }
  });
}

function seconds(text) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`\`${text}\` is not a number of seconds`);
  return value;
}

function stop() {
  server.close();
  server.closeAllConnections();
  process.exit(0);
}
