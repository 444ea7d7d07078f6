/** The clouds of Azure, each with endpoints, scopes and an authority of its own. */

/** One of them. */
interface Cloud {
  /** What the names of its hosts end with; of the public one nothing is known, since proxies may stand before it. */
  readonly end: string;
  readonly scope: string;
  readonly authority: string;
}

// https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure and, for China,
// https://learn.microsoft.com/azure/china/resources-developer-guide
const publicCloud: Cloud = {
  end: '',
  scope: 'https://cognitiveservices.azure.com/.default',
  authority: 'https://login.microsoftonline.com',
};
const clouds: readonly Cloud[] = [
  {
    end: '.azure.us',
    scope: 'https://cognitiveservices.azure.us/.default',
    authority: 'https://login.microsoftonline.us',
  },
  {
    end: '.azure.cn',
    scope: 'https://cognitiveservices.azure.cn/.default',
    authority: 'https://login.chinacloudapi.cn',
  },
];

/** What `DefaultAzureCredential` reads by itself. */
export interface AuthorityVariables {
  readonly AZURE_AUTHORITY_HOST?: string | undefined;
  readonly AZURE_CLIENT_SECRET?: string | undefined;
  readonly AZURE_CLIENT_CERTIFICATE_PATH?: string | undefined;
}

/** The cloud a host is in, by its name. */
export function cloudOf(host: string): Cloud {
  const name = host.toLowerCase().replace(/\.$/, '');
  return clouds.find(({ end }) => name.endsWith(end)) ?? publicCloud;
}

/** What of a scope, or of the way to its token, is probably not meant. `setting` is where the scope comes from. */
export function identityWarnings(cloud: Cloud, setting: string, scope: string, env: AuthorityVariables): string[] {
  const found: string[] = [];
  if (!scope.endsWith('/.default')) {
    found.push(
      `${setting}: the scope ${scope.slice(0, 100)} does not end with /.default, as those of applications do.`,
    );
  }
  const host = URL.canParse(scope) ? new URL(scope).hostname : '';
  if (host.includes('.azure.') && cloudOf(host) !== cloud) {
    found.push(`${setting}: the scope ${scope.slice(0, 100)} is that of another cloud; expected ${cloud.scope}.`);
  }
  // An identity that Azure manages asks its own host, and is in the right cloud by itself.
  const hasCredential = env.AZURE_CLIENT_SECRET ?? env.AZURE_CLIENT_CERTIFICATE_PATH;
  if (cloud !== publicCloud && hasCredential && !env.AZURE_AUTHORITY_HOST) {
    found.push(`AZURE_AUTHORITY_HOST is not set: tokens are asked of the public cloud; expected ${cloud.authority}.`);
  }
  return found;
}
