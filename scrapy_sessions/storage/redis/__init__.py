"""The store on a Redis or Valkey server: any number of processes of any number of machines."""
