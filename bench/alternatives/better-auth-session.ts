/** As much of better-auth as the bench calls. */
export interface Auth {
  readonly api: {
    createApiKey(input: { readonly body: object }): Promise<{ readonly id: string; readonly key: string }>;
    verifyApiKey(input: { readonly body: { readonly key: string } }): Promise<{ readonly valid: boolean }>;
    updateApiKey(input: { readonly body: object }): Promise<unknown>;
    deleteApiKey(input: { readonly body: object; readonly headers: Headers }): Promise<unknown>;
    signUpEmail(input: { readonly body: object; readonly asResponse: true }): Promise<Response>;
    signInEmail(input: { readonly body: object; readonly asResponse: true }): Promise<Response>;
  };
}

export interface Redis {
  get(key: string): Promise<string | null>;
}

const PERSON = { email: "bench@example.com", password: "a password of this bench", name: "Bench" };

/** Signs a user up, or in if an earlier process did: better-auth lets only the user remove the user's keys. */
export async function sessionOf({ api }: Auth): Promise<{ readonly userId: string; readonly headers: Headers }> {
  const request = { body: PERSON, asResponse: true } as const;
  const signedIn = await api.signInEmail(request);
  const response = signedIn.ok ? signedIn : await api.signUpEmail(request);
  if (!response.ok) throw new Error(`better-auth answers ${response.status}: ${await response.text()}`);
  const { user } = (await response.json()) as { readonly user: { readonly id: string } };
  const cookie = response.headers.getSetCookie().map((line) => line.split(";")[0]);
  return { userId: user.id, headers: new Headers({ cookie: cookie.join("; ") }) };
}
