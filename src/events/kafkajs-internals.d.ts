/** Parts of kafkajs that its own types leave out. */
declare module 'kafkajs/src/network/requestQueue/index.js' {
  const RequestQueue: { readonly prototype: object }
  export default RequestQueue
}
