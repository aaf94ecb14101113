/** Agent ids: file names, certificate names and topics are made of them. */
export const AGENT_ID = /^[a-zA-Z0-9][a-zA-Z0-9_-]{2,63}$/;
