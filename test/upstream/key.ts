/** The API key that tests dial with, and that must turn up nowhere. */
export const key = 'k3y-of-the-resource-0123456789abcdef';
